"""Ensemble members: rebuilt from their run folders, weights verified."""

import dataclasses
import pathlib

import keras
import numpy as np

from data_prep import manifest
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from trainer import run_folder
from trainer.models import registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One trained network.

    Attributes:
      model: from uint8-valued images to logits.
      path: its run folder.
      weights_sha256: of the weights that were loaded.
    """

    model: keras.Model
    path: pathlib.Path
    weights_sha256: str


def load(path: pathlib.Path, weights: str, data: manifest.Manifest) -> Member:
    """Loads one member for images of the dataset `data`.

    Raises:
      Failure: unfinished or changed run, weights that are not finite, or another
        size or preprocessing than the dataset's.
    """
    run = run_folder.open_finished(path)
    _check_preprocessing(run, data)
    file = run.verified_weights(weights)
    keras.mixed_precision.set_dtype_policy(run.config["precision"])
    model = registry.build_from_spec(run.config["model"], image_size=data.image_size)
    if "mask" not in model.output:
        raise Failure(
            ExitCode.FLAGS,
            f"{path} is a classifier, which outlines nothing",
            mend="give segmenters as --members",
        )
    model.load_weights(file)
    for variable in model.weights:
        if not np.isfinite(variable.numpy()).all():
            raise Failure(
                ExitCode.CORRUPT,
                f"{file} holds values that are not finite",
                mend="train the member again",
            )
    return Member(
        model=model, path=path, weights_sha256=run.result["weights"][file.name]
    )


def _check_preprocessing(run: run_folder.FinishedRun, data: manifest.Manifest) -> None:
    trained = manifest.pixel_options(run.dataset["options"])
    given = manifest.pixel_options(data.options)
    if trained != given:
        raise Failure(
            ExitCode.CONFLICT,
            f"{run.path} was trained on {trained}, the dataset has {given}",
            mend="give the dataset folder of that size and preprocessing",
        )
