"""One process of a tiny run; a test starts one or several.

argv is a JSON object: "data", "workdir" and "strategy"; "config", which replaces fields
of the configuration; "spoiled", the step of the first epoch whose gradient is infinite
in this process, or null; "digest", the file that gets a hash of all variables.
"""

# ruff: noqa: E402 - Keras reads the user's settings when it is first imported.

import hashlib
import json
import pathlib
import sys

from trainer.machine import backend

backend.load()

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from tests import fakes
from tests.trainer import overflows
from trainer import loop
from trainer.models import registry
from trainer.optim import losses


def spoiling(step: int):
    """Returns a loss whose gradient is infinite in one step, counted from 1.

    Validation calls the loss as well: the step must be one of the first epoch.
    """
    num_calls = tf.Variable(0, trainable=False)

    def loss(truth, logits):
        values = losses.parse("bce+dice")(truth, logits)
        now = num_calls.assign_add(1) == step
        factor = tf.where(now, np.float32(np.inf), 1.0)
        return overflows.with_gradient_times(values, factor)

    return loss


class Kept(loop.Trainer):
    """A trainer that remembers itself."""

    last = None

    def __init__(self, config, *args):
        super().__init__(config, *args)
        Kept.last = self


def digest() -> dict[str, str]:
    """Returns a hash of the values of all variables that this process holds."""
    values = [v.numpy() for v in Kept.last.state.variables]
    assert all(np.isfinite(v).all() for v in values)
    return {"sha256": hashlib.sha256(b"".join(v.tobytes() for v in values)).hexdigest()}


def main() -> int:
    run = json.loads(sys.argv[1])
    registry.MODELS["tiny"] = fakes.build_tiny
    loop.Trainer = Kept
    losses.LOSSES["spoiled"] = lambda weight=1.0: spoiling(run["spoiled"] or 0)
    try:
        loop.train(
            fakes.train_config(**run["config"]),
            fakes.execution(
                pathlib.Path(run["data"]),
                pathlib.Path(run["workdir"]),
                strategy=run["strategy"],
            ),
        )
    except CommandError as e:
        print(e, file=sys.stderr)
        return int(e.exit_code)
    pathlib.Path(run["digest"]).write_text(json.dumps(digest()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
