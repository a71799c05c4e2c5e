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

SCHEMA_VERSION = 1

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
        bit; None where the truth is unknown.
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
    return np.packbits(mask.astype(bool).ravel()).tobytes()


def unpack_mask(bits: bytes, size: int) -> np.ndarray:
    """Inverse of `pack_mask`: [size, size] uint8 of 0 and 1."""
    return np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(size, size)


@functools.cache
def example_class():
    """Returns the class of the message tf.train.Example, without TensorFlow."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )

    def define(name, parent=file.message_type):
        added = parent.add()
        added.name = name
        return added

    def add(to, name, number, kind, label=field.LABEL_OPTIONAL, type_name=None, **more):
        to.field.add(
            name=name,
            number=number,
            type=kind,
            label=label,
            type_name=type_name and f".tensorflow.{type_name}",
            **more,
        )

    many = field.LABEL_REPEATED
    add(define("BytesList"), "value", 1, field.TYPE_BYTES, many)
    add(define("FloatList"), "value", 1, field.TYPE_FLOAT, many)
    add(define("Int64List"), "value", 1, field.TYPE_INT64, many)
    feature = define("Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("bytes", "float", "int64"), start=1):
        type_name = f"{kind.capitalize()}List"
        add(
            feature,
            f"{kind}_list",
            number,
            field.TYPE_MESSAGE,
            type_name=type_name,
            oneof_index=0,
        )
    features = define("Features")
    entry = define("FeatureEntry", features.nested_type)
    entry.options.map_entry = True
    add(entry, "key", 1, field.TYPE_STRING)
    add(entry, "value", 2, field.TYPE_MESSAGE, type_name="Feature")
    add(
        features,
        "feature",
        1,
        field.TYPE_MESSAGE,
        many,
        type_name="Features.FeatureEntry",
    )
    add(define("Example"), "features", 1, field.TYPE_MESSAGE, type_name="Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("tensorflow.Example")
    )
