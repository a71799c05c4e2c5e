"""Serialised records to batches of tensors, by the table that wrote them."""

import dataclasses

import numpy as np
import tensorflow as tf

from data_prep import schema

_TYPES = {bytes: tf.string, int: tf.int64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """Parses and decodes a whole batch at once.

    Attributes:
      image_size: side S of the stored images, in pixels.
      pixel_encoding: "raw" or "png".
      with_mask: whether the records hold masks; those of a test split do not.
    """

    image_size: int
    pixel_encoding: str
    with_mask: bool

    def __call__(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Decodes [B] serialised records.

        Returns:
          "image" [B, S, S, 1] uint8; "mask" [B, S, S, 1] uint8 of 0 and 1 (only
          with masks); "id" [B] string; "label" [B] int64; "source_height" and
          "source_width" [B] int64, in pixels.
        """
        # No default values: a record that lacks a field is an error.
        features = {
            key: tf.io.FixedLenFeature([], _TYPES[kind])
            for key, (_, kind) in schema.FIELDS.items()
            if self.with_mask or key not in schema.OPTIONAL
        }
        parsed = tf.io.parse_example(serialized, features)
        batch = {
            "image": self._pixels(parsed["image/pixels"]),
            "id": parsed["image/id"],
            "label": parsed["label"],
            "source_height": parsed["image/source_height"],
            "source_width": parsed["image/source_width"],
        }
        if self.with_mask:
            batch["mask"] = self._unpack(parsed["mask/bits"])
        return batch

    def _pixels(self, encoded: tf.Tensor) -> tf.Tensor:
        size = self.image_size
        if self.pixel_encoding == "raw":
            flat = tf.io.decode_raw(encoded, tf.uint8)
            return tf.reshape(flat, [*encoded.shape, size, size, 1])
        decoded = tf.map_fn(
            lambda png: tf.io.decode_png(png, channels=1),
            encoded,
            fn_output_signature=tf.TensorSpec([None, None, 1], tf.uint8),
        )
        return tf.ensure_shape(decoded, [*encoded.shape, size, size, 1])

    def _unpack(self, bits: tf.Tensor) -> tf.Tensor:
        size = self.image_size
        packed = tf.io.decode_raw(bits, tf.uint8)
        places = tf.constant(np.arange(7, -1, -1, dtype=np.uint8))
        unpacked = tf.bitwise.right_shift(packed[..., tf.newaxis], places) & 1
        return tf.reshape(unpacked, [*bits.shape, size, size, 1])
