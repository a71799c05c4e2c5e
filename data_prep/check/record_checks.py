"""Checks one record against its shard and its dataset."""

from collections.abc import Iterator

from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.schema import Record
from data_prep.dataset.shards import Shard
from data_prep.labels import rle_csv

# kind of the issue, what is wrong
RecordIssue = tuple[str, str]


def find_issues(
    record: Record, shard: Shard, manifest: Manifest
) -> Iterator[RecordIssue]:
    """Yields everything that is wrong with a record, except in its pixels.

    Args:
      record: the parsed record.
      shard: the file that holds it.
      manifest: the dataset's.
    """
    for check in CHECKS:
        yield from check(record, shard, manifest)


def name_of(record: Record, index: int) -> str:
    """Returns how an issue names a record."""
    if rle_csv.ID.fullmatch(record.image_id):
        return f"record {index}, {record.image_id},"
    return f"record {index}"  # Anything else than an id may be private.


def _image_id(
    record: Record, shard: Shard, manifest: Manifest
) -> Iterator[RecordIssue]:
    if not rle_csv.ID.fullmatch(record.image_id):
        yield "RECORD_ID", "has an id that cannot be one"


def _group(record: Record, shard: Shard, manifest: Manifest) -> Iterator[RecordIssue]:
    if not record.group:
        yield "RECORD_GROUP", "has no group of its patient"


def _fold(record: Record, shard: Shard, manifest: Manifest) -> Iterator[RecordIssue]:
    if record.fold != shard.fold:
        yield "RECORD_FOLD", f"has fold {record.fold} in a shard of fold {shard.fold}"


def _label(record: Record, shard: Shard, manifest: Manifest) -> Iterator[RecordIssue]:
    if record.label != shard.label:
        yield (
            "RECORD_LABEL",
            f"has label {record.label} in a shard of label {shard.label}",
        )


def _source_size(
    record: Record, shard: Shard, manifest: Manifest
) -> Iterator[RecordIssue]:
    if record.source_height < 1 or record.source_width < 1:
        shape = f"{record.source_height} x {record.source_width}"
        yield "RECORD_SOURCE_SIZE", f"has a source of {shape} pixels"


def _mask(record: Record, shard: Shard, manifest: Manifest) -> Iterator[RecordIssue]:
    bits, size = record.mask_bits, manifest.image_size
    if shard.split == shards.TEST_SPLIT:
        if bits is not None:
            yield "RECORD_MASK", "has a mask in the test split"
    elif not manifest.has_masks:
        if bits is not None:
            yield "RECORD_MASK", "has a mask in a dataset of labels alone"
    elif bits is None:
        yield "RECORD_MASK", "has no mask in the train split"
    elif len(bits) != size * size // 8:
        yield "RECORD_MASK", f"has {len(bits)} bytes of mask for {size} x {size} pixels"
    # A positive may have no pixel: a tiny lesion vanishes when it is shrunk.
    elif record.label == 0 and (area_px := schema.unpack_mask(bits, size).sum()):
        yield "RECORD_MASK", f"is negative with a mask of {area_px} pixels"


CHECKS = (_image_id, _group, _fold, _label, _source_size, _mask)
