"""Begins a run with another's weights: the same network's, or the same encoder's."""

import logging
import pathlib

import keras

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models import registry
from trainer.run import run_folder

# Which weights of the other run, the first that it has.
_WEIGHTS = ("swa", "best", "last")
_SHOWN = 5


def load(path: pathlib.Path, model: keras.Model, spec: str) -> dict[str, str]:
    """Copies the weights that have the same name and shape in both networks.

    Args:
      path: a finished run folder.
      model: the network to begin.
      spec: what it was built from.

    Returns:
      What was loaded, for the run's configuration: "init_from" and "sha256".

    Raises:
      CommandError: no finished run, changed weights, no weight of an encoder in common,
        or a network of the same spec whose weights do not all fit.
    """
    run = run_folder.open_finished(path)
    name = next(n for n in _WEIGHTS if f"{n}.weights.h5" in run.result["weights"])
    file = run.verified_weights(name)
    other = registry.build_from_spec(
        run.config["model"], image_size=run.dataset["image_size"]
    )
    other.load_weights(file)
    theirs = {v.path: v for v in _weights(other)}
    taken, left = [], []
    for variable in _weights(model):
        source = theirs.get(variable.path)
        if source is not None and source.shape == variable.shape:
            taken.append((variable, source))
        else:
            left.append(variable.path)
    same = run.config["model"] == spec
    # A bias of the same length is nothing in common.
    related = any(len(variable.shape) > 1 for variable, _ in taken)
    if not related or (same and left):
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has {run.config['model']}, of whose weights {len(taken)} fit "
            f"{spec} and {len(left)} are missing",
            fix="give a run of the same model, or one with the same encoder",
        )
    for variable, source in taken:
        variable.assign(source.numpy())
    logging.info("took %d weights of %s from %s", len(taken), name, path)
    if left:
        more = ", ..." if len(left) > _SHOWN else ""
        shown = ", ".join(left[:_SHOWN])
        logging.info("%d weights begin at random: %s%s", len(left), shown, more)
    unused = len(theirs) - len(taken)
    if unused:
        logging.info("%d weights of the other run are not used", unused)
    return {
        "init_from": run.config["model"],
        "sha256": run.result["weights"][file.name],
    }


def _weights(model: keras.Model) -> list:
    """Returns what a run's weights are, random seeds left out."""
    return [v for v in model.weights if "seed" not in v.path]
