"""Checks everything that a conversion has written, and stops at no fault."""

import dataclasses
import pathlib

from data_prep.check.dataset_checks import RECONVERT
from data_prep.check.dataset_checks import SHARD_PATTERN
from data_prep.check.dataset_checks import DatasetCheck
from data_prep.check.findings import Findings
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from data_prep.dataset import manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a verification.

    Attributes:
      findings: what is wrong; empty for sound data.
      num_datasets: dataset folders with a readable `dataset.json`.
      num_shards: files that these name.
      num_records: records that these files should hold.
    """

    findings: Findings
    num_datasets: int
    num_shards: int
    num_records: int


def verify(folder: pathlib.Path) -> Result:
    """Checks a dataset folder, or an output folder with one for every size.

    Raises:
      CommandError: there is no dataset.
    """
    findings = Findings()
    opened = [_open(path, findings) for path in _dataset_folders(folder)]
    checks = [check for check in opened if check]
    listed = [shard for check in checks for shard in check.manifest.shards]
    num_records = sum(shard.num_records for shard in listed)
    with Tracker("verify", num_records, unit="records") as tracker:
        for check in checks:
            check.run(tracker.advance)
    for check in checks[1:]:
        _compare(checks[0], check, findings)
    _find_leftovers(folder, findings)
    return Result(
        findings=findings,
        num_datasets=len(checks),
        num_shards=len(listed),
        num_records=num_records,
    )


def _dataset_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    if _is_dataset(folder):
        return [folder]
    inside = folder.iterdir() if folder.is_dir() else ()
    found = [path for path in inside if path.is_dir() and _is_dataset(path)]
    if not found:
        raise CommandError(
            ExitCode.FLAGS,
            f"no {manifest.FILE_NAME} in {folder} or in a folder in it",
            fix="give the --output of `python -m data_prep.main`, "
            "or the folder of one size in it",
        )
    # By length first, which puts 256 before 1024.
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _is_dataset(folder: pathlib.Path) -> bool:
    # The work folder of a conversion also has files named after shards.
    if folder.name.startswith("."):
        return False
    return (folder / manifest.FILE_NAME).exists() or any(folder.glob(SHARD_PATTERN))


def _open(folder: pathlib.Path, findings: Findings) -> DatasetCheck | None:
    path = folder / manifest.FILE_NAME
    if not path.exists():
        findings.add(
            "DATASET",
            path,
            "is missing, so the conversion has not ended",
            fix="run the same conversion again to continue it",
        )
        return None
    try:
        return DatasetCheck(folder, manifest.read_alone(folder), findings)
    except CommandError as e:
        what, _, _ = str(e).removeprefix(f"{path} ").rpartition("; ")
        fix = f"restore it from a copy, or {RECONVERT}"
        findings.add("DATASET", path, what, fix=fix)
        return None


def _compare(first: DatasetCheck, other: DatasetCheck, findings: Findings) -> None:
    """The sizes of one conversion hold the same images in the same folds."""
    path = other.folder / manifest.FILE_NAME
    name = first.folder.name

    def differs(what: str) -> None:
        findings.add("SIZES_DIFFER", path, what, fix=RECONVERT)

    if first.manifest.source_fingerprint != other.manifest.source_fingerprint:
        differs(f"was made from other sources than {name}")
    for image_id in sorted(first.places.keys() & other.places.keys()):
        a, b = first.places[image_id], other.places[image_id]
        if (a.fold, a.label) != (b.fold, b.label):
            differs(
                f"image {image_id} has fold {b.fold} and label {b.label}, "
                f"in {name} fold {a.fold} and label {a.label}"
            )
    # Images of a lost shard are missing, too; that it is lost says it better.
    if first.whole and other.whole:
        for image_id in sorted(first.places.keys() - other.places.keys()):
            differs(f"lacks image {image_id} of {name}")
        for image_id in sorted(other.places.keys() - first.places.keys()):
            differs(f"has image {image_id}, which {name} lacks")


def _find_leftovers(folder: pathlib.Path, findings: Findings) -> None:
    for path in sorted(folder.rglob(f"{durable.INCOMPLETE}-*")):
        findings.add(
            "LEFTOVER",
            path,
            "was never finished",
            fix="delete it, unless a conversion is running",
        )
