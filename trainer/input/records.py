"""Decodes serialised records to batches, by the schema that wrote them."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from data_prep.dataset import schema
from data_prep.dataset.manifest import Manifest

_TYPES = {bytes: tf.string, int: tf.int64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """Parses and decodes a whole batch at once.

    Attributes:
      image_size: side S of the stored images, in pixels.
      pixel_encoding: "raw" or "png".
      with_mask: whether the records hold masks; records of a test split and of
        labels alone do not.
    """

    image_size: int
    pixel_encoding: str
    with_mask: bool

    @classmethod
    def of(cls, manifest: Manifest, *, with_mask: bool) -> "Decoder":
        """Returns the decoder of a dataset's records."""
        return cls(
            image_size=manifest.image_size,
            pixel_encoding=manifest.options["pixel_encoding"],
            with_mask=with_mask,
        )

    def __call__(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Decodes [B] serialised records.

        Returns:
          "image" [B, S, S, 1] uint8; "mask" [B, S, S, 1] uint8 of 0 and 1 (only
          with masks); "id" [B] string; "label" [B] int64; "source_height" and
          "source_width" [B] int64, in pixels.
        """
        return self.unpacked(self.packed(serialized))

    def packed(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Decodes [B] serialised records without unpacking the masks.

        Returns:
          The fields of `__call__`, with "bits" [B, S * S / 16] uint16 for "mask".
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
            bits = tf.io.decode_raw(parsed["mask/bits"], tf.uint16)
            batch["bits"] = tf.ensure_shape(bits, [None, self.image_size**2 // 16])
        return batch

    def unpacked(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the result of `packed` with "mask" instead of "bits"."""
        batch = dict(batch)
        if self.with_mask:
            bits = batch.pop("bits")
            # Look up two bytes at a time, and only those that are not 0, since masks
            # are mostly empty: a quarter of the time of shifting and masking bits.
            words = tf.reshape(bits, [-1])
            indices = tf.where(words != 0)
            nonzero = tf.cast(tf.gather_nd(words, indices), tf.int32)
            pixels = tf.scatter_nd(
                indices,
                tf.gather(tf.constant(_pairs()), nonzero),
                tf.stack([tf.size(words, tf.int64), tf.constant(16, tf.int64)]),
            )
            batch["mask"] = self._shaped(pixels, bits)
        return batch

    def _pixels(self, encoded: tf.Tensor) -> tf.Tensor:
        if self.pixel_encoding == "raw":
            return self._shaped(tf.io.decode_raw(encoded, tf.uint8), encoded)
        size = self.image_size
        decoded = tf.map_fn(
            lambda png: tf.io.decode_png(png, channels=1),
            encoded,
            fn_output_signature=tf.TensorSpec([None, None, 1], tf.uint8),
        )
        return tf.ensure_shape(decoded, [*encoded.shape, size, size, 1])

    def _shaped(self, flat: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        size = self.image_size
        count = -1 if batch.shape[0] is None else batch.shape[0]
        return tf.reshape(flat, [count, size, size, 1])


@functools.cache
def _pairs() -> np.ndarray:
    """Returns [65536, 16] uint8, the 16 pixels of each little-endian uint16."""
    pairs = np.arange(1 << 16, dtype="<u2").view(np.uint8).reshape(-1, 2)
    return np.unpackbits(pairs, axis=1)
