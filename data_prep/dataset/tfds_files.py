"""`features.json` and `dataset_info.json`, by which TensorFlow Datasets reads records.

`tfds.builder_from_directory(FOLDER)` needs no code of ours: the two files tell it the
names of the shards, how many records each has, and how a field is decoded. They repeat
what `dataset.json` says, so they have no checksum and may be written at any time. The
format is that of tensorflow_datasets/core/proto/{feature,dataset_info}.proto as JSON.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from data_prep.core import durable
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.schema_version import SCHEMA_VERSION

FEATURES_FILE = "features.json"
INFO_FILE = "dataset_info.json"

_DESCRIPTION = (
    "Chest X-rays, {size} x {size} px, grey, with labels of pneumothorax: 1 yes, 0 no, "
    "-1 unknown. A split has the films of one fold and label. mask/bits is empty where "
    "the truth is unknown or is a label alone; otherwise it is one mask, 8 pixels a "
    "byte, the first in the high bit."
)
_PYTHON = "tensorflow_datasets.core.features"


def texts(manifest: Manifest) -> dict[str, str]:
    """Returns {name of a file: what it holds} for a dataset."""
    values = {FEATURES_FILE: _features(manifest), INFO_FILE: _info(manifest)}
    return {name: json.dumps(v, indent=2) + "\n" for name, v in values.items()}


def write(folder: pathlib.Path, manifest: Manifest) -> None:
    """Writes the files that `folder` lacks or that say something else.

    Args:
      folder: the dataset folder.
      manifest: what its `dataset.json` holds, or will hold.
    """
    for name, text in texts(manifest).items():
        if _read(folder / name) != text:
            durable.write_text(folder / name, text)


def find_faults(
    folder: pathlib.Path, manifest: Manifest
) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields (file, what is wrong with it); a dataset without both files is sound."""
    stored = {name: _read(folder / name) for name in (FEATURES_FILE, INFO_FILE)}
    if not any(text is not None for text in stored.values()):
        return
    for name, text in texts(manifest).items():
        if stored[name] is None:
            yield folder / name, "is missing, and the other file for TFDS is there"
        elif stored[name] != text:
            yield folder / name, "does not describe this dataset"


def _read(path: pathlib.Path) -> str | None:
    """Returns the text of a file, None if it is missing or is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _info(manifest: Manifest) -> dict[str, Any]:
    splits: dict[str, list[shards.Shard]] = {}
    for shard in sorted(manifest.shards, key=lambda shard: shard.name):
        prefix = shards.prefix(shard.split, shard.fold, shard.label)
        splits.setdefault(prefix, []).append(shard)
    return {
        "name": "pneumothorax",
        "version": f"{SCHEMA_VERSION}.0.0",
        "description": _DESCRIPTION.format(size=manifest.image_size),
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": prefix,
                # As `shards.file_name` has it.
                "filepathTemplate": "{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                # JSON of protobuf has integers of 64 bits as text.
                "shardLengths": [str(shard.num_records) for shard in files],
                "numBytes": str(sum(shard.num_bytes for shard in files)),
            }
            for prefix, files in splits.items()
        ],
    }


def _features(manifest: Manifest) -> dict[str, Any]:
    """Returns the features of all fields of a record, "a/b" as b within a."""
    size = manifest.image_size
    special = {
        "image/pixels": _pixels(size, manifest.options.get("pixel_encoding")),
        # TFDS knows no packed bits, and default values for no tensors of bytes. A
        # sequence of no or one mask keeps a missing mask apart from an empty one.
        "mask/bits": {
            "pythonClassName": f"{_PYTHON}.sequence_feature.Sequence",
            "sequence": {"feature": _raw(size, size // 8), "length": "-1"},
        },
        "label": {
            "pythonClassName": f"{_PYTHON}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "2"},
        },
    }
    rooms: dict[str, Any] = {}
    for key, (_, kind) in schema.FIELDS.items():
        *room, name = key.split("/")
        inside = rooms.setdefault(room[0], {}) if room else rooms
        inside[name] = special.get(key, _TEXT if kind is bytes else _INTEGER)
    return _dict_of(
        {
            name: value if "pythonClassName" in value else _dict_of(value)
            for name, value in rooms.items()
        }
    )


_TEXT = {"pythonClassName": f"{_PYTHON}.text_feature.Text", "text": {}}
_INTEGER = {
    "pythonClassName": f"{_PYTHON}.scalar.Scalar",
    "tensor": {"dtype": "int64", "encoding": "none", "shape": {}},
}


def _pixels(size: int, encoding: str | None) -> dict[str, Any]:
    if encoding == "raw":
        return _raw(size, size, 1)
    return {
        "pythonClassName": f"{_PYTHON}.image_feature.Image",
        "image": {
            "dtype": "uint8",
            "encodingFormat": "png",
            "shape": _shape(size, size, 1),
        },
    }


def _raw(*shape: int) -> dict[str, Any]:
    """Returns the feature of uint8 that are stored as they are."""
    return {
        "pythonClassName": f"{_PYTHON}.tensor_feature.Tensor",
        "tensor": {"dtype": "uint8", "encoding": "bytes", "shape": _shape(*shape)},
    }


def _dict_of(features: dict[str, Any]) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_PYTHON}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }


def _shape(*dimensions: int) -> dict[str, list[str]]:
    return {"dimensions": [str(n) for n in dimensions]}
