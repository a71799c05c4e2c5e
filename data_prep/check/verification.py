"""Checks everything that a conversion has written and collects all issues."""

import dataclasses
import pathlib

from data_prep.check.dataset_checks import SHARD_PATTERN
from data_prep.check.dataset_checks import DatasetCheck
from data_prep.check.issues import SHOWN_PER_KIND
from data_prep.check.issues import Issues
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from data_prep.dataset import manifest
from data_prep.dataset import shards


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a verification.

    Attributes:
      issues: what is wrong; empty for sound data.
      num_datasets: dataset folders with a readable `dataset.json`.
      num_shards: files that their manifests list.
      num_records: records that these files should hold.
      odd_masks: {image id: what is odd about its mask}, which is no fault.
    """

    issues: Issues
    num_datasets: int
    num_shards: int
    num_records: int
    odd_masks: dict[str, tuple[str, ...]]

    def odd_lines(self) -> list[str]:
        """Returns one line for each of the first odd masks, and one for the others."""
        ids = sorted(self.odd_masks)
        lines = [
            f"look at the mask of {i}: it {', '.join(self.odd_masks[i])}" for i in ids
        ]
        more = len(lines) - SHOWN_PER_KIND
        if more > 0:
            lines[SHOWN_PER_KIND:] = [f"... and at {more} other odd masks"]
        if lines:
            lines.append("`python -m data_prep.inspect` shows them; they are no fault")
        return lines


def verify(folder: pathlib.Path) -> Result:
    """Checks a dataset folder, or an output folder with one for every size.

    Raises:
      CommandError: there is no dataset.
    """
    issues = Issues()
    opened = [_open(path, issues) for path in _dataset_folders(folder)]
    checks = [check for check in opened if check]
    listed = [shard for check in checks for shard in check.manifest.shards]
    num_records = sum(shard.num_records for shard in listed)
    with Tracker("verify", num_records, unit="records") as tracker:
        for check in checks:
            check.run(tracker.advance)
    for check in checks[1:]:
        _compare(checks[0], check, issues)
    _find_leftovers(folder, issues)
    return Result(
        issues=issues,
        num_datasets=len(checks),
        num_shards=len(listed),
        num_records=num_records,
        odd_masks={i: odd for check in checks for i, odd in check.odd_masks.items()},
    )


def _dataset_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    if _is_dataset(folder):
        return [folder]
    inside = folder.iterdir() if folder.is_dir() else ()
    folders = [path for path in inside if path.is_dir() and _is_dataset(path)]
    if not folders:
        raise CommandError(
            ExitCode.FLAGS,
            f"no {manifest.FILE_NAME} in {folder} or in a folder in it",
            fix="give the --output of `python -m data_prep.main`, "
            "or the folder of one size in it",
        )
    # By length first, which puts 256 before 1024.
    return sorted(folders, key=lambda path: (len(path.name), path.name))


def _is_dataset(folder: pathlib.Path) -> bool:
    # The work folder of a conversion also has files named after shards.
    if folder.name.startswith("."):
        return False
    return (folder / manifest.FILE_NAME).exists() or any(folder.glob(SHARD_PATTERN))


def _open(folder: pathlib.Path, issues: Issues) -> DatasetCheck | None:
    path = folder / manifest.FILE_NAME
    if not path.exists():
        issues.add(
            "DATASET",
            path,
            "is missing, so the conversion has not ended",
            fix="run the same conversion again to continue it",
        )
        return None
    try:
        return DatasetCheck(folder, manifest.read_alone(folder), issues)
    except CommandError as e:
        what, _, _ = str(e).removeprefix(f"{path} ").rpartition("; ")
        fix = f"restore it from a copy, or {shards.RECONVERT}"
        issues.add("DATASET", path, what, fix=fix)
        return None


def _compare(first: DatasetCheck, other: DatasetCheck, issues: Issues) -> None:
    """Checks that two sizes of a conversion hold the same images in the same folds."""
    path = other.folder / manifest.FILE_NAME
    name = first.folder.name

    def differs(what: str) -> None:
        issues.add("SIZES_DIFFER", path, what, fix=shards.RECONVERT)

    if first.manifest.source_fingerprint != other.manifest.source_fingerprint:
        differs(f"was made from other sources than {name}")
    for image_id in sorted(first.locations.keys() & other.locations.keys()):
        a, b = first.locations[image_id], other.locations[image_id]
        if (a.fold, a.label) != (b.fold, b.label):
            differs(
                f"image {image_id} has fold {b.fold} and label {b.label}, "
                f"in {name} fold {a.fold} and label {a.label}"
            )
    # Images of a damaged shard are missing too, but that shard has its own issue.
    if first.whole and other.whole:
        for image_id in sorted(first.locations.keys() - other.locations.keys()):
            differs(f"lacks image {image_id} of {name}")
        for image_id in sorted(other.locations.keys() - first.locations.keys()):
            differs(f"has image {image_id}, which {name} lacks")


def _find_leftovers(folder: pathlib.Path, issues: Issues) -> None:
    for path in sorted(folder.rglob(f"{durable.INCOMPLETE}-*")):
        issues.add(
            "LEFTOVER",
            path,
            "was never finished",
            fix="delete it, unless a conversion is running",
        )
