"""The record of one image, and the table of fields for writing and parsing it.

A record is a `tf.train.Example`. This module serialises it without TensorFlow,
whose import costs every conversion worker seconds and half a gigabyte. The message
is rebuilt from its public definition, tensorflow/core/example/*.proto, in a private
descriptor pool.
"""

import dataclasses
import functools

import numpy as np
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message
from google.protobuf import message_factory
from google.protobuf import text_format

UNKNOWN_LABEL = -1
NO_FOLD = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One image at one size.

    Attributes:
      image_id: the csv's ImageId, the stem of the source file.
      pixels: [S, S] uint8, after resizing and CLAHE, as raw bytes or PNG.
      source_height: rows of the source image, in pixels.
      source_width: columns of the source image, in pixels.
      mask_bits: [S, S] 0 or 1, row-major, 8 pixels a byte, first in the high
        bit; None where the truth is unknown or is a label alone.
      label: 1 pneumothorax, 0 none, -1 unknown.
      fold: 0-based, or -1 for the test split.
      group: salted hash of the patient.
    """

    image_id: str
    pixels: bytes
    source_height: int
    source_width: int
    mask_bits: bytes | None
    label: int
    fold: int
    group: str


# key in the record -> (attribute of Record, type in the record)
FIELDS = {
    "image/id": ("image_id", bytes),
    "image/pixels": ("pixels", bytes),
    "image/source_height": ("source_height", int),
    "image/source_width": ("source_width", int),
    "mask/bits": ("mask_bits", bytes),
    "label": ("label", int),
    "fold": ("fold", int),
    "group": ("group", bytes),
}
OPTIONAL = frozenset({"mask/bits"})

_EXAMPLE_PROTO = """
name: "example.proto" package: "tensorflow" syntax: "proto3"
message_type {
  name: "BytesList"
  field { name: "value" number: 1 type: TYPE_BYTES label: LABEL_REPEATED }
}
message_type {
  name: "FloatList"
  field { name: "value" number: 1 type: TYPE_FLOAT label: LABEL_REPEATED }
}
message_type {
  name: "Int64List"
  field { name: "value" number: 1 type: TYPE_INT64 label: LABEL_REPEATED }
}
message_type {
  name: "Feature"
  oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type_name: "BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 type_name: "FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type_name: "Int64List" oneof_index: 0 }
}
message_type {
  name: "Features"
  nested_type {
    name: "FeatureEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type_name: "Feature" label: LABEL_OPTIONAL }
  }
  field { name: "feature" number: 1 type_name: "FeatureEntry" label: LABEL_REPEATED }
}
message_type {
  name: "Example"
  field { name: "features" number: 1 type_name: "Features" label: LABEL_OPTIONAL }
}
"""


def serialize(record: Record) -> bytes:
    """Returns `record` as the bytes of a tf.train.Example, keys sorted."""
    example = example_class()()
    for key, (attribute, kind) in FIELDS.items():
        value = getattr(record, attribute)
        if value is None and key in OPTIONAL:
            continue
        feature = example.features.feature[key]
        if kind is int:
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.append(
                value.encode() if isinstance(value, str) else value
            )
    return example.SerializeToString(deterministic=True)


def parse(serialized: bytes) -> Record:
    """Inverse of `serialize`.

    Raises:
      ValueError: the bytes are not a record of this schema.
    """
    try:
        features = example_class().FromString(serialized).features.feature
    except message.DecodeError as e:
        raise ValueError("Expected a serialised tf.train.Example") from e
    values = {}
    for key, (attribute, kind) in FIELDS.items():
        feature = features.get(key, None)
        stored = None
        if feature:
            stored = (feature.int64_list if kind is int else feature.bytes_list).value
        if stored is None and key in OPTIONAL:
            values[attribute] = None
        elif not stored or len(stored) != 1:
            raise ValueError(f"Expected one value. Received: field={key!r}")
        else:
            as_text = attribute in ("image_id", "group")
            values[attribute] = stored[0].decode() if as_text else stored[0]
    return Record(**values)


def pack_mask(mask: np.ndarray) -> bytes:
    """Packs [S, S] of 0 and 1, S a multiple of 8, to S * S / 8 bytes."""
    return np.packbits(mask.ravel()).tobytes()


def unpack_mask(bits: bytes, size: int) -> np.ndarray:
    """Inverse of `pack_mask`: [size, size] uint8 of 0 and 1."""
    return np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(size, size)


@functools.cache
def example_class():
    """Returns the class of the message tf.train.Example, without TensorFlow."""
    file = text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("tensorflow.Example")
    )
