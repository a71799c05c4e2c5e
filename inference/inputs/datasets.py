"""The dataset folders of a prediction: the same images, at one size or several."""

import dataclasses
import pathlib
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.shards import Shard
from trainer.run.run_folder import FinishedRun


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset folder.

    Attributes:
      folder: where it is.
      manifest: its description.
    """

    folder: pathlib.Path
    manifest: Manifest


def find(paths: Sequence[pathlib.Path]) -> list[Dataset]:
    """Opens dataset folders, or all sizes of a conversion's output.

    Raises:
      CommandError: no dataset, or a damaged one.
    """
    found: dict[pathlib.Path, Dataset] = {}
    for path in paths:
        sizes = sorted(p.parent for p in path.glob(f"*/{manifests.FILE_NAME}"))
        alone = (path / manifests.FILE_NAME).exists() or not sizes
        for folder in [path] if alone else sizes:
            found[folder.resolve()] = Dataset(
                folder=folder, manifest=manifests.read(folder)
            )
    return list(found.values())


def for_run(run: FinishedRun, datasets: Sequence[Dataset]) -> Dataset:
    """Returns the dataset with the size and preprocessing that a run knows.

    Raises:
      CommandError: none has.
    """
    trained = manifests.pixel_options(run.dataset["options"])
    given = [manifests.pixel_options(d.manifest.options) for d in datasets]
    if trained not in given:
        shown = given[0] if len(given) == 1 else given
        raise CommandError(
            ExitCode.CONFLICT,
            f"{run.path} was trained on {trained}, the dataset has {shown}",
            fix="give the dataset folder of that size and preprocessing",
        )
    return datasets[given.index(trained)]


def shards_of(
    datasets: Sequence[Dataset], folds: Sequence[int] | None
) -> list[list[Shard]]:
    """Returns of each dataset the shards to predict, file for file the same images.

    Args:
      datasets: one or more.
      folds: of the labelled images, or None for the test split.

    Raises:
      CommandError: no such images, or datasets that do not hold the same.
    """
    chosen = []
    for dataset in datasets:
        data = dataset.manifest
        found = data.test_shards() if folds is None else data.train_shards(list(folds))
        if not sum(shard.num_records for shard in found):
            raise CommandError(
                ExitCode.FLAGS,
                f"{dataset.folder} has no "
                + ("test split" if folds is None else f"images in folds {folds}"),
                fix="convert with --test_source" if folds is None else "give others",
            )
        chosen.append(found)
    first = datasets[0]
    for dataset, found in zip(datasets, chosen, strict=True):
        # The images themselves are compared when they are read.
        if _contents(found) != _contents(chosen[0]) or (
            dataset.manifest.options["aspect"] != first.manifest.options["aspect"]
        ):
            raise CommandError(
                ExitCode.CONFLICT,
                f"{dataset.folder} and {first.folder} do not hold the same images in "
                "the same files, or hold them in another aspect",
                fix="convert all sizes at once, with --sizes",
            )
    return chosen


def _contents(found: Sequence[Shard]) -> list[tuple[str, int, int]]:
    return [(shard.name, shard.fold, shard.num_records) for shard in found]
