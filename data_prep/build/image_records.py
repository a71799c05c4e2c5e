"""Converts one source file to its records at every size, and writes nothing."""

import dataclasses
import hashlib
import pathlib

import cv2
import numpy as np

from data_prep.build import clahe
from data_prep.core.errors import InputError
from data_prep.dataset import aspect
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import stored_pixels
from data_prep.source import dicom
from data_prep.source import probe
from data_prep.source import raster

# Each worker converts one file at a time; OpenCV's threads would compete with them.
cv2.setNumThreads(1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One image to convert.

    Attributes:
      image_id: stem of the file.
      path: the source file.
      rows: its RLE rows; None where it has a mask file or the truth is unknown.
      mask_path: its PNG mask, or None.
      label: 1, 0 or -1.
      fold: fold or -1.
      group: salted hash of the patient.
      expected_sha256: of the source file, or None.
    """

    image_id: str
    path: pathlib.Path
    rows: tuple[str, ...] | None
    mask_path: pathlib.Path | None
    label: int
    fold: int
    group: str
    expected_sha256: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """How pixels are made and stored; see ConvertConfig for the fields."""

    sizes: tuple[int, ...]
    aspect: str
    interpolation: str
    clahe: str
    voi: str
    frame: int | None
    dicom_decoder: str
    pixel_encoding: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Converted:
    """The outcome for one image.

    Attributes:
      records: {size: serialised record}.
      sums: {size: (sum of all intensities, sum of their squares)}, exact.
      source_sha256: of the source file.
      pixels_sha256: of the largest image made, to find duplicates under other ids.
    """

    records: dict[int, bytes]
    sums: dict[int, tuple[int, int]]
    source_sha256: str
    pixels_sha256: str


def convert(pixels: Pixels, task: Task) -> Converted:
    """Decodes the file once and makes its record at every size.

    Raises:
      InputError: the file or its label is unusable.
    """
    # Read once, so that the hash is that of the decoded bytes.
    data = task.path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if task.expected_sha256 not in (None, digest):
        raise InputError(
            "DCM_HASH_MISMATCH",
            "the file is not the one in --source_manifest",
            fix="get the file again from its source",
        )
    image = read_image(data, probe.is_dicom(task.path), pixels)
    mask = _mask(task, image.shape)
    square = aspect.to_square(image, pixels.aspect)
    records, sums, small = {}, {}, {}
    for size in pixels.sizes:
        small[size] = _equalised(square, size, pixels)
        sums[size] = stored_pixels.sums(stored_pixels.histogram(small[size]))
        records[size] = schema.serialize(
            schema.Record(
                image_id=task.image_id,
                pixels=_encode(small[size], pixels.pixel_encoding),
                source_height=image.shape[0],
                source_width=image.shape[1],
                mask_bits=_mask_bits(task, mask, size, pixels),
                label=task.label,
                fold=task.fold,
                group=task.group,
            )
        )
    return Converted(
        records=records,
        sums=sums,
        source_sha256=digest,
        pixels_sha256=hashlib.sha256(small[max(small)].data).hexdigest(),
    )


def read_image(data: bytes, is_dicom: bool, pixels: Pixels) -> np.ndarray:
    """Decodes a source file's bytes to [H, W] uint8."""
    if not is_dicom:
        return np.ascontiguousarray(raster.read_pixels(data))
    if pixels.dicom_decoder == "tfio":
        # Imported here because it imports TensorFlow, which no other worker needs.
        from data_prep.source import dicom_tfio

        return dicom_tfio.read_pixels(data)
    image = dicom.read_pixels(data, voi=pixels.voi, frame=pixels.frame)
    return np.ascontiguousarray(image)


def prepare(image: np.ndarray, size: int, pixels: Pixels) -> np.ndarray:
    """Squares, resizes and equalises [H, W] uint8 to [size, size] uint8."""
    return _equalised(aspect.to_square(image, pixels.aspect), size, pixels)


def _equalised(square: np.ndarray, size: int, pixels: Pixels) -> np.ndarray:
    small = clahe.resize_image(square, size, pixels.interpolation)
    return clahe.parse(pixels.clahe)(small)


def _mask(task: Task, shape: tuple[int, int]) -> np.ndarray | None:
    """Returns the mask of a positive, [H, W] of 0 and 1; None for all others."""
    if task.label != 1:
        return None
    if task.mask_path is not None:
        return raster.read_mask(task.mask_path.read_bytes())
    return rle.decode_union(list(task.rows), *shape)


def _mask_bits(task: Task, mask, size: int, pixels: Pixels) -> bytes | None:
    if task.label == schema.UNKNOWN_LABEL:
        return None
    if task.label == 0:
        return bytes(size * size // 8)
    square = aspect.to_square(mask, pixels.aspect)
    return schema.pack_mask(clahe.resize_mask(square, size))


def _encode(image: np.ndarray, encoding: str) -> bytes:
    if encoding == "png":
        return cv2.imencode(".png", image)[1].tobytes()
    return image.tobytes()
