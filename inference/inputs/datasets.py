"""The dataset folders of a prediction: the same images, at one or several sizes."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.schema_version import SCHEMA_VERSION
from data_prep.dataset.shards import Shard
from trainer.run.run_folder import FinishedRun


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset folder.

    Attributes:
      folder: its path.
      manifest: the contents of its `dataset.json`.
    """

    folder: pathlib.Path
    manifest: Manifest


def find(paths: Sequence[pathlib.Path]) -> list[Dataset]:
    """Opens dataset folders, or all sizes within the output of a conversion.

    Raises:
      CommandError: a path has no dataset, or a damaged one.
    """
    datasets: dict[pathlib.Path, Dataset] = {}
    for path in paths:
        sizes = sorted(p.parent for p in path.glob(f"*/{manifests.FILE_NAME}"))
        is_dataset = (path / manifests.FILE_NAME).exists() or not sizes
        for folder in [path] if is_dataset else sizes:
            datasets[folder.resolve()] = Dataset(
                folder=folder, manifest=manifests.read(folder)
            )
    return list(datasets.values())


def for_run(run: FinishedRun, datasets: Sequence[Dataset]) -> Dataset:
    """Returns the dataset with the size and preprocessing that a run was trained on.

    Raises:
      CommandError: there is none.
    """
    trained = manifests.pixel_options(run.dataset["options"])
    available = [manifests.pixel_options(d.manifest.options) for d in datasets]
    if trained not in available:
        shown = available[0] if len(available) == 1 else available
        raise CommandError(
            ExitCode.CONFLICT,
            f"{run.path} was trained on {trained}, the dataset has {shown}",
            fix="give the dataset folder of that size and preprocessing",
        )
    return datasets[available.index(trained)]


def warn_of_other_versions(runs: Sequence[FinishedRun]) -> None:
    """Logs which runs were trained on datasets of other schema versions.

    The version is not among the options that must match, for the pixels of films
    without a window, such as the competition's, are the same.
    """
    others = {
        version: run.path
        for run in reversed(runs)
        if (version := run.dataset["options"].get("schema_version", 1))
        != SCHEMA_VERSION
    }
    for version, path in sorted(others.items()):
        logging.warning(
            "%s was trained on a dataset of schema version %s, this one has %s: pixels "
            "of films with windows or few bits may differ from what it learned",
            path,
            version,
            SCHEMA_VERSION,
        )


def shards_of(
    datasets: Sequence[Dataset], folds: Sequence[int] | None
) -> list[list[Shard]]:
    """Returns the shards to predict of each dataset, with the same images file by file.

    Args:
      datasets: one or more.
      folds: folds of the labelled images, or None for the test split.

    Raises:
      CommandError: a dataset has no such images, or the datasets differ.
    """
    shards = []
    for dataset in datasets:
        data = dataset.manifest
        chosen = data.test_shards() if folds is None else data.train_shards(list(folds))
        if not sum(shard.num_records for shard in chosen):
            raise CommandError(
                ExitCode.FLAGS,
                f"{dataset.folder} has no "
                + ("test split" if folds is None else f"images in folds {folds}"),
                fix="convert with --test_source" if folds is None else "give others",
            )
        shards.append(chosen)
    first = datasets[0]
    for dataset, chosen in zip(datasets, shards, strict=True):
        # `chunks.read` compares the image ids themselves.
        if _contents(chosen) != _contents(shards[0]) or (
            dataset.manifest.options["aspect"] != first.manifest.options["aspect"]
        ):
            raise CommandError(
                ExitCode.CONFLICT,
                f"{dataset.folder} and {first.folder} do not hold the same images in "
                "the same files, or hold them in another aspect",
                fix="convert all sizes at once, with --sizes",
            )
    return shards


def _contents(shards: Sequence[Shard]) -> list[tuple[str, int, int]]:
    return [(shard.name, shard.fold, shard.num_records) for shard in shards]
