"""Checks a converted dataset: every shard, every record, all findings at once."""

import dataclasses
import pathlib

import numpy as np

from data_prep import durable
from data_prep import image_records
from data_prep import manifest as manifests
from data_prep import schema
from data_prep import shards
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.labels import ID
from data_prep.progress import Tracker

_STATISTICS_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong: in which file, and what."""

    file: str
    what: str


@dataclasses.dataclass
class _Seen:
    """What the records of one dataset showed."""

    places: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    fold_of: dict[str, int] = dataclasses.field(default_factory=dict)
    histogram: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(256, np.int64)
    )


def verify(folder: pathlib.Path) -> list[Finding]:
    """Checks a dataset folder, or an output folder that holds several sizes.

    Returns:
      All findings, sorted; empty if the dataset is what its manifest says.

    Raises:
      Failure: there is no dataset.
    """
    folders = [folder]
    if not (folder / manifests.FILE_NAME).exists():
        folders = sorted(p.parent for p in folder.glob(f"*/{manifests.FILE_NAME}"))
    if not folders:
        raise Failure(
            ExitCode.FLAGS,
            f"no {manifests.FILE_NAME} in {folder} or one folder below",
            mend="give a folder that `python -m data_prep.main` has written",
        )
    findings: list[Finding] = []
    places = {}
    for each in folders:
        seen = _verify_one(each, findings)
        if seen:
            places[each.name] = seen.places
    _compare_sizes(places, findings)
    return sorted(findings)


def _verify_one(folder: pathlib.Path, findings: list[Finding]) -> _Seen | None:
    name = f"{folder.name}/{manifests.FILE_NAME}"
    try:
        data = manifests.read_alone(folder)
    except Failure as e:
        findings.append(Finding(name, str(e)))
        return None
    _check_files(folder, data, findings)
    seen = _Seen()
    total = sum(s.num_records for s in data.shards)
    with Tracker(f"verify {folder.name}", total, unit="records") as tracker:
        for shard in data.shards:
            if (folder / shard.name).is_file():
                _check_shard(folder, shard, data, seen, findings, tracker)
    _check_statistics(name, data, seen, findings)
    return seen


def _check_files(folder, data, findings) -> None:
    expected = {s.name for s in data.shards}
    present = {p.name for p in folder.iterdir()}
    for name in sorted(expected - present):
        findings.append(Finding(f"{folder.name}/{name}", "the shard is missing"))
    for name in sorted(present - expected - {manifests.FILE_NAME}):
        what = "is in the folder and not in the manifest"
        findings.append(Finding(f"{folder.name}/{name}", what))


def _check_shard(folder, shard, data, seen, findings, tracker) -> None:
    path = folder / shard.name
    name = f"{folder.name}/{shard.name}"
    if path.stat().st_size != shard.num_bytes:
        what = f"has {path.stat().st_size} bytes instead of {shard.num_bytes}"
        findings.append(Finding(name, what))
    elif durable.sha256(path) != shard.sha256:
        findings.append(Finding(name, "does not match its recorded sha256"))
    count = 0
    try:
        for serialized in shards.read(path):
            for what in _faults(serialized, shard, data, seen):
                findings.append(Finding(name, f"record {count}: {what}"))
            count += 1
            tracker.advance()
    except Failure:
        findings.append(Finding(name, f"record {count} is damaged, the rest is lost"))
    if count != shard.num_records:
        what = f"holds {count} records instead of {shard.num_records}"
        findings.append(Finding(name, what))


def _faults(serialized: bytes, shard, data, seen: _Seen) -> list[str]:
    """Returns all that is wrong with one record, and remembers it in `seen`."""
    try:
        record = schema.parse(serialized)
    except (ValueError, UnicodeDecodeError) as e:
        return [str(e)]
    faults = []
    if not ID.fullmatch(record.image_id):
        return [f"{record.image_id[:40]!r} is not an image id"]
    if record.image_id in seen.places:
        faults.append(f"{record.image_id} is in the dataset twice")
    seen.places[record.image_id] = (record.fold, record.label)
    if (record.fold, record.label) != (shard.fold, shard.label):
        faults.append(
            f"{record.image_id} has fold {record.fold} and label {record.label}, "
            f"the shard {shard.fold} and {shard.label}"
        )
    if min(record.source_height, record.source_width) < 1:
        faults.append(f"{record.image_id} has a source without pixels")
    if shard.split == shards.TRAIN_SPLIT:
        fold = seen.fold_of.setdefault(record.group, record.fold)
        if fold != record.fold:
            faults.append(f"a patient is in folds {fold} and {record.fold}")
    return faults + _payload_faults(record, shard, data, seen)


def _payload_faults(record: schema.Record, shard, data, seen: _Seen) -> list[str]:
    size = data.image_size
    faults = []
    try:
        image = image_records.decode_image(record, size, data.options["pixel_encoding"])
    except ValueError:
        image = None
    if image is None or image.shape != (size, size):
        faults.append(f"{record.image_id} has no {size} x {size} pixels")
    elif shard.split == shards.TRAIN_SPLIT:
        seen.histogram += np.bincount(image.ravel(), minlength=256)
    bits = record.mask_bits
    if (bits is None) != (shard.split == shards.TEST_SPLIT):
        faults.append(f"{record.image_id} has a mask where none may be, or none")
    elif bits is not None and len(bits) != size * size // 8:
        faults.append(f"{record.image_id} has a mask of {len(bits)} bytes")
    elif bits is not None and record.label == 0 and any(bits):
        # The other way round is no fault: tiny lesions vanish when shrunk.
        faults.append(f"{record.image_id} is a negative with a mask")
    return faults


def _check_statistics(name, data, seen: _Seen, findings) -> None:
    total = seen.histogram.sum()
    if not total:
        return
    levels = np.arange(256)
    mean = (seen.histogram @ levels) / total
    std = (max(0.0, (seen.histogram @ levels**2) / total - mean**2)) ** 0.5
    for key, found in (("mean", mean), ("std", std)):
        if abs(found - getattr(data, key)) > _STATISTICS_TOLERANCE:
            what = f"says {key} {getattr(data, key):.4f}, the images have {found:.4f}"
            findings.append(Finding(name, what))


def _compare_sizes(places: dict[str, dict], findings: list[Finding]) -> None:
    """Images, folds and labels must be the same at every size."""
    if not places:
        return
    first, *others = places
    for other in others:
        differing = [
            i
            for i in sorted(places[first].keys() | places[other].keys())
            if places[first].get(i) != places[other].get(i)
        ]
        if differing:
            what = (
                f"{len(differing)} images differ in presence, fold or label from "
                f"{first}, first {differing[0]}"
            )
            findings.append(Finding(other, what))
