"""Starts a run from another run's weights: of the whole network, or of the encoder."""

import logging
import pathlib

import keras

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models import registry
from trainer.run import run_folder
from trainer.run import weights_file

# The first of these that the other run has.
_WEIGHTS = ("swa", "best", "last")
_SHOWN = 5


def load(path: pathlib.Path, model: keras.Model, spec: str) -> dict[str, str]:
    """Copies the weights that have the same name and shape in both networks.

    Args:
      path: a finished run folder.
      model: the network to copy into.
      spec: the spec that `model` was built from.

    Returns:
      What was loaded, for the run's configuration: "init_from" and "sha256".

    Raises:
      CommandError: no finished run, changed weights, no encoder in common, or a
        network of the same spec whose weights do not all fit.
    """
    run = run_folder.open_finished(path)
    recorded = run.result["weights"]
    # A member file may have others only; the first name is then refused.
    name = next((n for n in _WEIGHTS if f"{n}.weights.h5" in recorded), _WEIGHTS[0])
    file = run.verified_weights(name)
    other = registry.build_from_spec(
        run.config["model"], image_size=run.dataset["image_size"]
    )
    weights_file.load(other, file, fix="give a run as trainer.main has left it")
    sources = {v.path: v for v in other.weights}
    pairs, unmatched = [], []
    for variable in model.weights:
        source = sources.get(variable.path)
        if source is not None and source.shape == variable.shape:
            pairs.append((variable, source))
        else:
            unmatched.append(variable.path)
    same_spec = run.config["model"] == spec
    # A matching bias alone does not show a shared encoder.
    related = any(len(variable.shape) > 1 for variable, _ in pairs)
    if not related or (same_spec and unmatched):
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has {run.config['model']}, of whose weights {len(pairs)} fit "
            f"{spec} and {len(unmatched)} are missing",
            fix="give a run of the same model, or one with the same encoder",
        )
    for variable, source in pairs:
        variable.assign(source.numpy())
    logging.info("took %d weights of %s from %s", len(pairs), name, path)
    if unmatched:
        more = ", ..." if len(unmatched) > _SHOWN else ""
        shown = ", ".join(unmatched[:_SHOWN])
        logging.info("%d weights begin at random: %s%s", len(unmatched), shown, more)
    unused = len(sources) - len(pairs)
    if unused:
        logging.info("%d weights of the other run are not used", unused)
    return {
        "init_from": run.config["model"],
        "sha256": run.result["weights"][f"{name}.weights.h5"],
    }
