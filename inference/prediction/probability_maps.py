"""Predicted probabilities on disk: one small map an image, before any threshold.

What is stored is the ensemble's mean at the network's size, as float16: of 0.5
and more a value is off by 2^-12 at most, of less by half of that or less. A
prediction cuts the same rounded values, in float32 again, so tuned thresholds
make the masks that they were tuned with, to the pixel.

A folder of predictions:

    prediction.json                   {"config", "parts": [{"name", "sha256"}], ...}
    probabilities/part-00000.tfrecord ...

Parts may have no maps of images that a cascade's classifiers did not let pass.
`prediction.json` is written last: without it the prediction is unfinished.
A record is a tf.train.Example; this module reads and writes it without TensorFlow.
"""

import contextlib
import dataclasses
import pathlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf import message

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.source import labels

FOLDER = "probabilities"
MARKER = "prediction.json"
_FIX = "delete the folder of the prediction and predict again"
# Mantissas are noise: higher levels take longer and gain 1%.
_LEVEL = 1
_STORED = np.dtype("<f2")
_MAX_SIZE = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbabilityMap:
    """What an ensemble says of one image.

    Attributes:
      image_id: the csv's ImageId.
      values: [S, S] float16 in 0..1, of the square image that the network saw.
      source_height: rows of the source image, in pixels.
      source_width: columns of the source image, in pixels.
      fold: in which the image was held out, 0-based, or -1 for the test split.
      classifier: a classification's probability of a pneumothorax anywhere in the
        image, in 0..1; None if there was none.

    Raises:
      ConfigError: a value that cannot be, such as a probability that is not a number.
    """

    image_id: str
    values: np.ndarray
    source_height: int
    source_width: int
    fold: int
    classifier: float | None

    def __post_init__(self):
        values, shape = self.values, self.values.shape
        if not labels.ID.fullmatch(self.image_id):
            raise ConfigError(f"Expected an image id. Received: {self.image_id[:64]!r}")
        if values.dtype != np.float16 or len(shape) != 2 or len(set(shape)) != 1:
            raise self._bad("[S, S] float16", f"{list(shape)} {values.dtype}")
        # Not a number is outside, too.
        if not values.size or not (values.min() >= 0 and values.max() <= 1):
            raise self._bad("values in 0..1", "others or none")
        if self.source_height < 1 or self.source_width < 1 or self.fold < -1:
            raise self._bad(
                "a source of a pixel or more, and a fold",
                f"{self.source_height} x {self.source_width}, fold {self.fold}",
            )
        if self.classifier is not None and not 0 <= self.classifier <= 1:
            raise self._bad("a classifier's value in 0..1", self.classifier)

    def _bad(self, expected: str, received) -> ConfigError:
        return ConfigError(
            f"Expected {expected} for image {self.image_id}. Received: {received}"
        )


def part_name(index: int) -> str:
    """Returns the name of a part, within `FOLDER`."""
    return f"part-{index:05d}.tfrecord"


def write(path: pathlib.Path, maps: list[ProbabilityMap]) -> None:
    """Writes one part, whole or not at all; the same maps make the same bytes."""
    shards.write(path, map(_serialize, maps))


def read(path: pathlib.Path) -> Iterator[ProbabilityMap]:
    """Yields the maps of one part, every checksum verified.

    Raises:
      CommandError: the part is missing or damaged, or a map's values cannot be.
    """
    if not path.is_file():
        raise CommandError(ExitCode.CORRUPT, f"{path} is missing", fix=_FIX)
    records = shards.read(path)
    while True:
        with _named(path):
            record = next(records, None)
            found = record and _parse(record)
        if found is None:
            return
        yield found


def seal(folder: pathlib.Path, config: dict[str, Any], **facts: Any) -> None:
    """Writes `prediction.json` for the parts that are in `folder`.

    Args:
      folder: of the prediction.
      config: what decided it, free of paths, as JSON takes it.
      **facts: what else to write, beside "config" and "parts".
    """
    parts = sorted((folder / FOLDER).glob("part-*.tfrecord"))
    durable.write_json(
        folder / MARKER,
        {
            "config": config,
            "parts": [{"name": p.name, "sha256": durable.sha256(p)} for p in parts],
            **facts,
        },
    )


def read_folder(
    folder: pathlib.Path,
) -> tuple[dict[str, Any], Iterator[ProbabilityMap]]:
    """Reads a folder of predictions.

    Returns:
      What decided the prediction, and its maps, in the order of the parts; the
      maps are read while the iterator runs.

    Raises:
      CommandError: no finished prediction or a damaged one; by the iterator, another
        part than was recorded, or an image twice.
    """
    path = folder / MARKER
    stored = durable.read_json(path, fix="give the folder of a finished prediction")
    try:
        config = dict(stored["config"])
        parts = {p["name"]: p["sha256"] for p in stored["parts"]}
    except (KeyError, TypeError) as e:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} lists no probability maps", fix=_FIX
        ) from e
    return config, _maps(folder / FOLDER, parts)


def count(folder: pathlib.Path) -> int:
    """Returns how many maps a folder of predictions has, from their lengths alone.

    Raises:
      CommandError: a length is damaged.
    """
    total = 0
    for path in (folder / FOLDER).glob("part-*.tfrecord"):
        with _named(path):
            total += len(shards.offsets(path))
    return total


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    """Names the part and the fix in every error about it."""
    try:
        yield
    except (CommandError, ValueError, zlib.error) as e:
        # A CommandError is the framing's: its fix is for a dataset.
        why = f": {e}" if isinstance(e, ValueError) else ""
        raise CommandError(
            ExitCode.CORRUPT, f"{path} holds a damaged record{why}", fix=_FIX
        ) from e


def _maps(folder: pathlib.Path, parts: dict[str, str]) -> Iterator[ProbabilityMap]:
    seen: set[str] = set()
    for name, sha256 in parts.items():
        durable.check_file(folder / name, expected_sha256=sha256, fix=_FIX)
        for found in read(folder / name):
            if found.image_id in seen:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{folder / name} has image {found.image_id} a second time",
                    fix=_FIX,
                )
            seen.add(found.image_id)
            yield found


def _serialize(of: ProbabilityMap) -> bytes:
    example = schema.example_class()()
    features = example.features.feature
    for key, number in (
        ("image/source_height", of.source_height),
        ("image/source_width", of.source_width),
        ("map/size", len(of.values)),
        ("fold", of.fold),
    ):
        features[key].int64_list.value.append(number)
    features["image/id"].bytes_list.value.append(of.image_id.encode())
    values = np.ascontiguousarray(of.values, _STORED).tobytes()
    features["map/values"].bytes_list.value.append(zlib.compress(values, _LEVEL))
    if of.classifier is not None:
        # A FloatList would round it to float32, and a gate's ">=" is exact.
        packed = struct.pack("<d", of.classifier)
        features["classifier"].bytes_list.value.append(packed)
    return example.SerializeToString(deterministic=True)


def _parse(record: bytes) -> ProbabilityMap:
    """Inverse of `_serialize`; raises ValueError, or zlib.error."""
    try:
        features = schema.example_class().FromString(record).features.feature
    except message.DecodeError as e:
        raise ValueError("no tf.train.Example") from e

    def only(key: str, kind: str):
        values = getattr(features[key], kind).value
        if len(values) != 1:
            raise ValueError(f"expected one value of {key!r}")
        return values[0]

    size = only("map/size", "int64_list")
    if not 0 < size <= _MAX_SIZE:
        raise ValueError(f"expected a size in 1..{_MAX_SIZE}")
    expected = _STORED.itemsize * size * size
    # Bounded, so that a foreign record cannot take all memory.
    inflate = zlib.decompressobj()
    values = inflate.decompress(only("map/values", "bytes_list"), expected + 1)
    if len(values) != expected or not inflate.eof:
        raise ValueError(f"expected {expected} bytes of values")
    classifier = None
    if "classifier" in features:
        packed = only("classifier", "bytes_list")
        if len(packed) != 8:
            raise ValueError("expected 8 bytes of 'classifier'")
        classifier = struct.unpack("<d", packed)[0]
    return ProbabilityMap(
        image_id=only("image/id", "bytes_list").decode(),
        values=np.frombuffer(values, _STORED).astype(np.float16).reshape(size, size),
        source_height=only("image/source_height", "int64_list"),
        source_width=only("image/source_width", "int64_list"),
        fold=only("fold", "int64_list"),
        classifier=classifier,
    )
