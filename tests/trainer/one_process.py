"""One process of a tiny run; a test starts one or several.

argv is a JSON object: "data", "workdir", "strategy", and "config", which replaces
fields of the configuration.
"""

# ruff: noqa: E402 - Keras reads the user's settings when it is first imported.

import json
import pathlib
import sys

from trainer.machine import backend

backend.load()

from data_prep.core.errors import CommandError
from tests import fakes
from trainer import loop
from trainer.models import registry


def main() -> int:
    run = json.loads(sys.argv[1])
    registry.MODELS["tiny"] = fakes.build_tiny
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
