"""Checks one dataset folder: `dataset.json`, the shards, and every record in them."""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Callable
from collections.abc import Iterator

import numpy as np

from data_prep.check import record_checks
from data_prep.check.issues import Issues
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.dataset import manifest as manifests
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset import stored_pixels
from data_prep.dataset import tfds_files
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.schema_version import IMAGE_LABELS
from data_prep.dataset.schema_version import MASKS
from data_prep.dataset.shards import Shard
from data_prep.labels import rle_csv
from data_prep.pixels import mask_plausibility

# Files that begin with a dot are unfinished.
SHARD_PATTERN = "[!.]*.tfrecord-*"
_RESTORE = f"restore it from a copy, or {shards.RECONVERT}"
_REWRITE = "run the same conversion again, which writes it and nothing else"
_REPORT = f"{shards.RECONVERT}; report it if it comes back"


@dataclasses.dataclass(frozen=True)
class RecordLocation:
    """Where a dataset has an image: the shard's name, the fold and the label."""

    shard: str
    fold: int
    label: int


class DatasetCheck:
    """Reads a dataset once, one record at a time.

    Attributes:
      folder: the dataset folder.
      manifest: its `dataset.json`.
      locations: {image id: its first RecordLocation}, for the readable records.
      whole: whether every record could be read.
      odd_masks: {image id: what is odd about its mask}, which is no fault.
    """

    def __init__(self, folder: pathlib.Path, manifest: Manifest, issues: Issues):
        self.folder = folder
        self.manifest = manifest
        self.locations: dict[str, RecordLocation] = {}
        self.whole = True
        self.odd_masks: dict[str, tuple[str, ...]] = {}
        self._issues = issues
        # group -> {fold: one of its images there}
        self._folds_of: dict[str, dict[int, str]] = collections.defaultdict(dict)
        self._histogram = np.zeros(256, np.int64)
        self._has_all_pixels = True

    def run(self, advance: Callable[[], None]) -> None:
        """Adds what is wrong to the issues; calls `advance` after every record."""
        self._check_description()
        self._check_names()
        for shard in self.manifest.shards:
            if self._check_file(shard):
                self._check_records(shard, advance)
        self._check_groups()
        self._check_statistics()

    def _check_description(self) -> None:
        options = self.manifest.options
        if options.get("image_size") != self.manifest.image_size:
            self._report_manifest(
                f"has image_size {self.manifest.image_size} and the option "
                f"image_size {options.get('image_size')}"
            )
        if options.get("labels") not in (MASKS, IMAGE_LABELS):
            self._report_manifest(
                f"has the labels {options.get('labels')!r} instead of {MASKS!r} or "
                f"{IMAGE_LABELS!r}"
            )
        if options.get("pixel_encoding") not in stored_pixels.ENCODINGS:
            self._has_all_pixels = False
            self._report_manifest(
                f"has the pixel_encoding {options.get('pixel_encoding')!r} instead "
                f"of one of {stored_pixels.ENCODINGS}"
            )
            return
        for path, what in tfds_files.find_faults(self.folder, self.manifest):
            self._issues.add("TFDS_FILE", path, what, fix=_REWRITE)

    def _check_names(self) -> None:
        """Checks the shards' names, by which readers choose folds and classes."""
        kinds = collections.Counter(_kind(s) for s in self.manifest.shards)
        expected = {
            shards.file_name(shards.prefix(*kind), index, count): kind
            for kind, count in kinds.items()
            for index in range(count)
        }
        possible = {(shards.TEST_SPLIT, schema.NO_FOLD, schema.UNKNOWN_LABEL)} | {
            (shards.TRAIN_SPLIT, fold, label)
            for fold in range(self.manifest.num_folds)
            for label in (0, 1)
        }
        for shard in self.manifest.shards:
            kind = _kind(shard)
            if kind not in possible or expected.get(shard.name) != kind:
                self._report_manifest(
                    f"lists {shard.name} as split {shard.split}, fold {shard.fold}, "
                    f"label {shard.label}, one of {kinds[kind]}"
                )
        known = {shard.name for shard in self.manifest.shards}
        for path in sorted(self.folder.glob(SHARD_PATTERN)):
            if path.name not in known:
                self._issues.add(
                    "SHARD_EXTRA",
                    path,
                    f"is not in {manifests.FILE_NAME}",
                    fix="delete it, or move it out of the dataset folder",
                )

    def _check_file(self, shard: Shard) -> bool:
        """Checks a shard's size and sha256; returns whether the file exists."""
        path = self.folder / shard.name
        if not path.is_file():
            self._mark_incomplete(shard)
            self._issues.add("SHARD_MISSING", path, "is missing", fix=_RESTORE)
            return False
        size = path.stat().st_size
        if size != shard.num_bytes:
            what = f"has {size} bytes instead of {shard.num_bytes}"
            self._issues.add("SHARD_SIZE", path, what, fix=_RESTORE)
        elif durable.sha256(path) != shard.sha256:
            what = "does not match its recorded sha256"
            self._issues.add("SHARD_SHA256", path, what, fix=_RESTORE)
        return True

    def _check_records(self, shard: Shard, advance: Callable[[], None]) -> None:
        path = self.folder / shard.name
        count = 0
        try:
            for serialized in shards.read(path):
                self._check_record(shard, count, serialized)
                count += 1
                advance()
        except CommandError:
            self._mark_incomplete(shard)
            what = f"record {count} is damaged, those after it were not read"
            self._issues.add("RECORD_DAMAGED", path, what, fix=_RESTORE)
            return
        if count != shard.num_records:
            self._mark_incomplete(shard)
            what = f"has {count} records instead of {shard.num_records}"
            self._issues.add("SHARD_RECORDS", path, what, fix=_RESTORE)

    def _check_record(self, shard: Shard, index: int, serialized: bytes) -> None:
        path = self.folder / shard.name
        try:
            record = schema.parse(serialized)
        except ValueError as e:
            self._mark_incomplete(shard)
            what = f"record {index} is none of this schema: {e}"
            self._issues.add("RECORD_SCHEMA", path, what, fix=_REPORT)
            return
        name = record_checks.name_of(record, index)
        for kind, what in self._record_issues(record, shard):
            self._issues.add(kind, path, f"{name} {what}", fix=_REPORT)
        if rle_csv.ID.fullmatch(record.image_id):
            location = RecordLocation(shard.name, record.fold, record.label)
            self.locations.setdefault(record.image_id, location)
        if shard.split == shards.TRAIN_SPLIT:
            self._folds_of[record.group].setdefault(record.fold, name)

    def _record_issues(
        self, record: schema.Record, shard: Shard
    ) -> Iterator[record_checks.RecordIssue]:
        earlier = self.locations.get(record.image_id)
        if earlier:
            yield "RECORD_TWICE", f"is also in {earlier.shard}"
        yield from record_checks.find_issues(record, shard, self.manifest)
        size = self.manifest.image_size
        encoding = self.manifest.options.get("pixel_encoding")
        if encoding not in stored_pixels.ENCODINGS:
            return
        try:
            image = stored_pixels.decode(record.pixels, size, encoding)
        except ValueError as e:
            self._has_all_pixels = False
            yield "RECORD_PIXELS", f"has {e}"
            return
        if shard.split == shards.TRAIN_SPLIT:
            self._histogram += stored_pixels.histogram(image)
            self._note_odd_mask(record, image)

    def _note_odd_mask(self, record: schema.Record, image: np.ndarray) -> None:
        size = self.manifest.image_size
        bits = record.mask_bits
        is_mask = record.label == 1 and bits is not None and 8 * len(bits) == size**2
        if not is_mask or not rle_csv.ID.fullmatch(record.image_id):
            return
        odd = mask_plausibility.oddities(schema.unpack_mask(bits, size), image)
        if odd:
            self.odd_masks[record.image_id] = odd

    def _check_groups(self) -> None:
        # A published split may divide patients; the conversion has warned about it.
        if self.manifest.options.get("published_folds"):
            return
        for folds in self._folds_of.values():
            if len(folds) > 1:
                records = " and ".join(
                    f"{name} of fold {fold}" for fold, name in sorted(folds.items())
                )
                self._issues.add(
                    "GROUP_IN_TWO_FOLDS",
                    self.folder / manifests.FILE_NAME,
                    f"one patient has {records}",
                    fix=_REPORT,
                )

    def _check_statistics(self) -> None:
        # Statistics of some of the images are not comparable.
        if not self._has_all_pixels:
            return
        sums = stored_pixels.sums(self._histogram)
        mean, std = stored_pixels.mean_and_std(*sums, int(self._histogram.sum()))
        for name, stored, actual in (
            ("mean", self.manifest.mean, mean),
            ("std", self.manifest.std, std),
        ):
            if not math.isclose(stored, actual, rel_tol=1e-9, abs_tol=1e-6):
                self._report_manifest(f"has {name} {stored}, the images have {actual}")

    def _mark_incomplete(self, shard: Shard) -> None:
        self.whole = False
        if shard.split == shards.TRAIN_SPLIT:
            self._has_all_pixels = False

    def _report_manifest(self, what: str) -> None:
        path = self.folder / manifests.FILE_NAME
        self._issues.add("DATASET", path, what, fix=_REPORT)


def _kind(shard: Shard) -> tuple[str, int, int]:
    return shard.split, shard.fold, shard.label
