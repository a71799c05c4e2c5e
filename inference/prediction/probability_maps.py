"""Predicted probabilities on disk: one small map per image, before any threshold.

A map has the ensemble's mean at the network's size as float16: the rounding error is at
most 2^-12 from 0.5 on, and at most half of that below. A prediction thresholds the same
rounded values, so tuned thresholds give exactly the masks that they were tuned with.

A folder of predictions:

    prediction.json                   {"config", "parts": [{"name", "sha256"}], ...}
    probabilities/part-00000.tfrecord ...

Images that did not pass a cascade's gate have no map. `prediction.json` is written
last; without it the prediction is unfinished. A record is a tf.train.Example; this
module reads and writes it without TensorFlow.
"""

import contextlib
import dataclasses
import pathlib
import struct
import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import message

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.labels import rle_csv

FOLDER = "probabilities"
MARKER = "prediction.json"
_FIX = "delete the folder of the prediction and predict again"
# Mantissas compress badly: higher levels take longer and gain 1%.
_LEVEL = 1
_STORED = np.dtype("<f2")
_MAX_SIZE = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbabilityMap:
    """An ensemble's prediction for one image.

    Attributes:
      image_id: the csv's ImageId.
      values: [S, S] float16 in 0..1, of the square image that the network gets.
      source_height: rows of the source image, in pixels.
      source_width: columns of the source image, in pixels.
      fold: the image's fold, 0-based, or -1 for the test split.
      classifier: the classifiers' probability of a pneumothorax anywhere in the image,
        in 0..1; None without classifiers.

    Raises:
      ConfigError: a value is invalid, such as a probability that is NaN.
    """

    image_id: str
    values: np.ndarray
    source_height: int
    source_width: int
    fold: int
    classifier: float | None

    def __post_init__(self):
        values, shape = self.values, self.values.shape
        if not rle_csv.ID.fullmatch(self.image_id):
            raise ConfigError(f"Expected an image id. Received: {self.image_id[:64]!r}")
        if values.dtype != np.float16 or len(shape) != 2 or len(set(shape)) != 1:
            raise self._error("[S, S] float16", f"{list(shape)} {values.dtype}")
        # Also rejects NaN.
        if not values.size or not (values.min() >= 0 and values.max() <= 1):
            raise self._error("values in 0..1", "others or none")
        if self.source_height < 1 or self.source_width < 1 or self.fold < -1:
            raise self._error(
                "a source of a pixel or more, and a fold",
                f"{self.source_height} x {self.source_width}, fold {self.fold}",
            )
        if self.classifier is not None and not 0 <= self.classifier <= 1:
            raise self._error("a classifier's value in 0..1", self.classifier)

    def _error(self, expected: str, received) -> ConfigError:
        return ConfigError(
            f"Expected {expected} for image {self.image_id}. Received: {received}"
        )


def part_name(index: int) -> str:
    """Returns the name of a part, within `FOLDER`."""
    return f"part-{index:05d}.tfrecord"


def write(path: pathlib.Path, maps: Iterable[ProbabilityMap]) -> str:
    """Writes one part atomically; the same maps give the same bytes.

    What `maps` raises, also after its last map, keeps the file from appearing.

    Returns:
      sha256 of the file.
    """
    _, _, digest = shards.write(path, map(_serialize, maps))
    return digest


def read(path: pathlib.Path) -> Iterator[ProbabilityMap]:
    """Yields the maps of one part and verifies every checksum.

    Raises:
      CommandError: the part is missing or damaged, or a map has invalid values.
    """
    if not path.is_file():
        raise CommandError(ExitCode.CORRUPT, f"{path} is missing", fix=_FIX)
    records = shards.read(path)
    while True:
        with _errors_named(path):
            record = next(records, None)
            parsed = record and _parse(record)
        if parsed is None:
            return
        yield parsed


def seal(
    folder: pathlib.Path,
    config: dict[str, Any],
    *,
    parts: Mapping[str, str] | None = None,
    **facts: Any,
) -> None:
    """Writes `prediction.json`.

    Args:
      folder: the prediction's folder.
      config: its provenance, see inference/prediction/provenance.py.
      parts: {name: sha256} of the parts, or None for all that are in `folder`.
      **facts: further keys, in addition to "config" and "parts".
    """
    if parts is None:
        found = sorted((folder / FOLDER).glob("part-*.tfrecord"))
        parts = {path.name: durable.sha256(path) for path in found}
    durable.write_json(
        folder / MARKER,
        {
            "config": config,
            "parts": [{"name": name, "sha256": parts[name]} for name in parts],
            **facts,
        },
    )


def read_folder(
    folder: pathlib.Path,
) -> tuple[dict[str, Any], Iterator[ProbabilityMap]]:
    """Reads a folder of predictions.

    Returns:
      The provenance of the prediction, and a lazy iterator over its maps in the order
      of the parts.

    Raises:
      CommandError: there is no finished prediction, or it is damaged; the iterator
        raises it if a part differs from the recorded one or an image appears twice.
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
    """Returns the number of maps in a folder of predictions; reads only their lengths.

    Raises:
      CommandError: a length is damaged.
    """
    total = 0
    for path in (folder / FOLDER).glob("part-*.tfrecord"):
        with _errors_named(path):
            total += len(shards.offsets(path))
    return total


@contextlib.contextmanager
def _errors_named(path: pathlib.Path) -> Iterator[None]:
    """Adds the part and the fix to the errors of reading it."""
    try:
        yield
    except (CommandError, ValueError, zlib.error) as e:
        # A CommandError comes from the TFRecord framing, with a fix for datasets.
        why = f": {e}" if isinstance(e, ValueError) else ""
        raise CommandError(
            ExitCode.CORRUPT, f"{path} holds a damaged record{why}", fix=_FIX
        ) from e


def _maps(folder: pathlib.Path, parts: dict[str, str]) -> Iterator[ProbabilityMap]:
    seen: set[str] = set()
    for name, sha256 in parts.items():
        durable.check_file(folder / name, expected_sha256=sha256, fix=_FIX)
        for probability_map in read(folder / name):
            image_id = probability_map.image_id
            if image_id in seen:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{folder / name} has image {image_id} a second time",
                    fix=_FIX,
                )
            seen.add(image_id)
            yield probability_map


def _serialize(probability_map: ProbabilityMap) -> bytes:
    example = schema.example_class()()
    features = example.features.feature
    for key, number in (
        ("image/source_height", probability_map.source_height),
        ("image/source_width", probability_map.source_width),
        ("map/size", len(probability_map.values)),
        ("fold", probability_map.fold),
    ):
        features[key].int64_list.value.append(number)
    features["image/id"].bytes_list.value.append(probability_map.image_id.encode())
    values = np.ascontiguousarray(probability_map.values, _STORED).tobytes()
    features["map/values"].bytes_list.value.append(zlib.compress(values, _LEVEL))
    if probability_map.classifier is not None:
        # A FloatList would round to float32, but the gate's ">=" must be exact.
        packed = struct.pack("<d", probability_map.classifier)
        features["classifier"].bytes_list.value.append(packed)
    return example.SerializeToString(deterministic=True)


def _parse(record: bytes) -> ProbabilityMap:
    """Inverse of `_serialize`; raises ValueError or zlib.error."""
    try:
        features = schema.example_class().FromString(record).features.feature
    except message.DecodeError as e:
        raise ValueError("no tf.train.Example") from e

    def single(key: str, kind: str):
        values = getattr(features[key], kind).value
        if len(values) != 1:
            raise ValueError(f"expected one value of {key!r}")
        return values[0]

    size = single("map/size", "int64_list")
    if not 0 < size <= _MAX_SIZE:
        raise ValueError(f"expected a size in 1..{_MAX_SIZE}")
    expected = _STORED.itemsize * size * size
    # Bounded, so a foreign record cannot exhaust the memory.
    inflate = zlib.decompressobj()
    values = inflate.decompress(single("map/values", "bytes_list"), expected + 1)
    if len(values) != expected or not inflate.eof:
        raise ValueError(f"expected {expected} bytes of values")
    classifier = None
    if "classifier" in features:
        packed = single("classifier", "bytes_list")
        if len(packed) != 8:
            raise ValueError("expected 8 bytes of 'classifier'")
        classifier = struct.unpack("<d", packed)[0]
    return ProbabilityMap(
        image_id=single("image/id", "bytes_list").decode(),
        values=np.frombuffer(values, _STORED).astype(np.float16).reshape(size, size),
        source_height=single("image/source_height", "int64_list"),
        source_width=single("image/source_width", "int64_list"),
        fold=single("fold", "int64_list"),
        classifier=classifier,
    )
