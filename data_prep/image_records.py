"""One source file to its records at every size: the pure part of a conversion."""

import dataclasses
import hashlib
import pathlib

import cv2
import numpy as np

from data_prep import clahe
from data_prep import dicom
from data_prep import rle
from data_prep import schema


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One image to convert.

    Attributes:
      image_id: stem of the file.
      path: the source file.
      rows: its RLE rows, or None where the truth is unknown.
      label: 1, 0 or -1.
      fold: fold or -1.
      group: salted hash of the patient.
    """

    image_id: str
    path: pathlib.Path
    rows: tuple[str, ...] | None
    label: int
    fold: int
    group: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """How pixels are made and stored; see ConvertConfig for the fields."""

    sizes: tuple[int, ...]
    clahe: str
    interpolation: str
    pixel_encoding: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converted:
    """The outcome for one image.

    Attributes:
      records: {size: serialised record}.
      sums: {size: (sum of intensities, sum of their squares)}, exact.
      source_sha256: of the source file.
    """

    records: dict[int, bytes]
    sums: dict[int, tuple[int, int]]
    source_sha256: str


def convert(pixels: Pixels, task: Task) -> Converted:
    """Decodes the file once and makes its record at every size.

    Raises:
      Rejected: the file or its RLE is at fault.
    """
    # Read once: what is hashed is what is decoded.
    data = task.path.read_bytes()
    image = dicom.read_pixels(data)
    mask = None
    if task.rows is not None:
        mask = rle.decode_union(list(task.rows), *image.shape)
    records, sums = {}, {}
    for size in pixels.sizes:
        small = prepare(image, size, pixels)
        values = small.astype(np.int64)
        sums[size] = int(values.sum()), int((values * values).sum())
        bits = mask if mask is None else clahe.resize_mask(mask, size)
        records[size] = schema.serialize(
            schema.Record(
                image_id=task.image_id,
                pixels=_encode(small, pixels.pixel_encoding),
                source_height=image.shape[0],
                source_width=image.shape[1],
                mask_bits=bits if bits is None else schema.pack_mask(bits),
                label=task.label,
                fold=task.fold,
                group=task.group,
            )
        )
    return Converted(
        records=records, sums=sums, source_sha256=hashlib.sha256(data).hexdigest()
    )


def prepare(image: np.ndarray, size: int, pixels: Pixels) -> np.ndarray:
    """Resizes [H, W] uint8 to [size, size] and equalises it; uint8 in 0..255."""
    small = clahe.resize_image(image, size, pixels.interpolation)
    return clahe.parse(pixels.clahe)(small)


def _encode(image: np.ndarray, encoding: str) -> bytes:
    if encoding == "png":
        return cv2.imencode(".png", image)[1].tobytes()
    return image.tobytes()


def decode_image(record: schema.Record, size: int, encoding: str) -> np.ndarray:
    """Returns the pixels of a record, [size, size] uint8."""
    stored = np.frombuffer(record.pixels, np.uint8)
    if encoding == "png":
        return cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)
    return stored.reshape(size, size)
