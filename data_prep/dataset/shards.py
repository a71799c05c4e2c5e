"""TFRecord shards: their names, how records are divided, and their bytes.

The framing follows tensorflow/core/lib/io/record_writer.cc: length, masked
CRC-32C of the length, data, masked CRC-32C of the data.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import struct
from collections.abc import Iterable
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

TEST_SPLIT = "test"
TRAIN_SPLIT = "train"

# The fix of every fault in a dataset's files.
RECONVERT = "delete the dataset folder and convert again"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of records, pure in split, fold and class.

    Attributes:
      name: file name within the dataset folder.
      split: "train" or "test".
      fold: 0-based, -1 in the test split.
      label: 1 positive, 0 negative, -1 unknown.
      num_records: number of records in the file.
      num_bytes: the file's size.
      sha256: of the file.
    """

    name: str
    split: str
    fold: int
    label: int
    num_records: int
    num_bytes: int
    sha256: str


def prefix(split: str, fold: int, label: int) -> str:
    """Returns the part of a shard's name before `.tfrecord`."""
    if split == TEST_SPLIT:
        return TEST_SPLIT
    return f"{split}-fold{fold}-{'positive' if label else 'negative'}"


def file_name(prefix: str, index: int, count: int) -> str:
    """Returns the full name of shard `index` of `count`."""
    return f"{prefix}.tfrecord-{index:05d}-of-{count:05d}"


def order(image_id: str) -> bytes:
    """Returns the sort key of an id: a hash, so the source's order has no effect."""
    return hashlib.sha256(b"shard-order:" + image_id.encode()).digest()


def split_evenly(image_ids: Iterable[str], records_per_shard: int) -> list[list[str]]:
    """Divides ids, in hash order, into as few shards as hold them, even to one."""
    ordered = sorted(image_ids, key=order)
    count = max(1, -(-len(ordered) // records_per_shard))
    bounds = [len(ordered) * k // count for k in range(count + 1)]
    return [ordered[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


class Writer:
    """Writes records to an open file, and counts and hashes the bytes.

    Attributes:
      num_records: records written so far.
      num_bytes: bytes written so far.
      digest: sha256 of these bytes.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self.num_records = self.num_bytes = 0
        self.digest = hashlib.sha256()

    def write(self, record: bytes) -> None:
        """Writes one serialised record."""
        framed = _framed(record)
        self.digest.update(framed)
        self._file.write(framed)
        self.num_records += 1
        self.num_bytes += len(framed)


@contextlib.contextmanager
def writer(path: pathlib.Path) -> Iterator[Writer]:
    """Yields a Writer for `path`, which appears whole or not at all."""
    with durable.atomic_write(path) as incomplete, incomplete.open("wb") as file:
        yield Writer(file)


def write(path: pathlib.Path, records: Iterable[bytes]) -> tuple[int, int, str]:
    """Writes serialised records to `path`, whole or not at all.

    Returns:
      Number of records, number of bytes, sha256 of the file.
    """
    with writer(path) as shard:
        for record in records:
            shard.write(record)
    return shard.num_records, shard.num_bytes, shard.digest.hexdigest()


def read(path: pathlib.Path) -> Iterator[bytes]:
    """Yields the records of `path` and verifies every checksum.

    Raises:
      CommandError: a record is damaged or cut short.
    """
    with path.open("rb") as file:
        while header := file.read(12):
            length, crc = _header(header, path)
            data = file.read(length + 4)
            if crc != _masked_crc(header[:8]) or len(data) != length + 4:
                raise _corrupt(path)
            if _masked_crc(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
                raise _corrupt(path)
            yield data[:-4]


def offsets(path: pathlib.Path) -> list[int]:
    """Returns the byte offset of each record of `path`; reads only the lengths.

    Raises:
      CommandError: a length is damaged, or the file ends within a record.
    """
    starts, offset, size = [], 0, path.stat().st_size
    # Unbuffered: only twelve bytes of each record are needed.
    with path.open("rb", buffering=0) as file:
        while header := file.read(12):
            length, crc = _header(header, path)
            if crc != _masked_crc(header[:8]):
                raise _corrupt(path)
            starts.append(offset)
            offset = file.seek(offset + length + 16)
    if offset != size:
        raise _corrupt(path)
    return starts


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return b"".join(
        (
            length,
            struct.pack("<I", _masked_crc(length)),
            record,
            struct.pack("<I", _masked_crc(record)),
        )
    )


def _header(header: bytes, path: pathlib.Path) -> tuple[int, int]:
    if len(header) != 12:
        raise _corrupt(path)
    length, crc = struct.unpack("<QI", header)
    # Check before reading: a damaged length must not allocate memory.
    if length > path.stat().st_size:
        raise _corrupt(path)
    return length, crc


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _corrupt(path: pathlib.Path) -> CommandError:
    return CommandError(
        ExitCode.CORRUPT,
        f"{path} holds a damaged record",
        fix=RECONVERT,
    )
