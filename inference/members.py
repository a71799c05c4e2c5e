"""Ensemble members: rebuilt from their run folders, weights verified."""

import dataclasses
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from data_prep.failures import ExitCode
from data_prep.failures import Failure
from inference import datasets as dataset_folders
from inference.datasets import Dataset
from trainer import run_folder
from trainer.models import registry

# What a member is asked for: logits [B, S, S, 1] or [B, 1].
MASK, LABEL = "mask", "label"
_WITHOUT = {
    MASK: "is a classifier, which outlines nothing",
    LABEL: "is a segmenter, which does not classify",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One trained network.

    Attributes:
      model: from uint8-valued images to logits.
      path: its run folder.
      dataset: that has images of its size and preprocessing.
      weights_sha256: of the weights that were loaded.
    """

    model: keras.Model
    path: pathlib.Path
    dataset: Dataset
    weights_sha256: str


def load_all(
    paths: Sequence[pathlib.Path],
    weights: str,
    datasets: Sequence[Dataset],
    output: str,
) -> list[Member]:
    """Loads members, in an order that does not depend on that of `paths`.

    Args:
      paths: run folders.
      weights: which weights of each.
      datasets: to choose each member's images from.
      output: MASK or LABEL.

    Raises:
      Failure: as `load`, or the same weights twice.
    """
    loaded = [load(path, weights, datasets, output) for path in paths]
    by_hash: dict[str, Member] = {}
    for member in loaded:
        other = by_hash.setdefault(member.weights_sha256, member)
        if other is not member:
            raise Failure(
                ExitCode.FLAGS,
                f"{member.path} and {other.path} have the same weights",
                mend="leave one out; it would count twice",
            )
    # Sums of floats depend on their order.
    return [by_hash[digest] for digest in sorted(by_hash)]


def load(
    path: pathlib.Path, weights: str, datasets: Sequence[Dataset], output: str
) -> Member:
    """Loads one member.

    Raises:
      Failure: unfinished or changed run, weights that are not finite, a network
        without the output, or no dataset of its size and preprocessing.
    """
    run = run_folder.open_finished(path)
    dataset = dataset_folders.for_run(run, datasets)
    file = run.verified_weights(weights)
    keras.mixed_precision.set_dtype_policy(run.config["precision"])
    model = registry.build_from_spec(
        run.config["model"], image_size=dataset.manifest.image_size
    )
    if output not in model.output:
        raise Failure(
            ExitCode.FLAGS,
            f"{path} {_WITHOUT[output]}",
            mend="give segmenters as --members, classifiers as --classifiers",
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
        model=model,
        path=path,
        dataset=dataset,
        weights_sha256=run.result["weights"][file.name],
    )
