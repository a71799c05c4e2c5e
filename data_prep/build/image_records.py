"""Converts one source file to its records at every size, and writes nothing."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import cv2
import numpy as np

from data_prep.build import clahe
from data_prep.build import near_duplicates
from data_prep.config import ConvertConfig
from data_prep.core.errors import InputError
from data_prep.dataset import aspect
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import stored_pixels
from data_prep.pixels import dicom
from data_prep.pixels import mask_files
from data_prep.pixels import mask_plausibility
from data_prep.pixels import raster
from data_prep.pixels.dicom_spacing import Spacing
from data_prep.pixels.notices import Notices
from data_prep.source.source_file import Kind
from data_prep.source.source_file import SourceFile

# The most that decoding takes, in bytes per pixel: 41 measured, of 16 bits with a slope
# and a window; grey JPEG takes 2.
_BYTES_PER_PIXEL = 64
# From this side on, in pixels, different pictures have different images.
_TELLING_SIZE = 256
# Each worker converts one file at a time; OpenCV's threads would compete with them.
cv2.setNumThreads(1)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One image to convert.

    Attributes:
      image_id: stem of the file.
      file: the source file.
      rows: its RLE rows, or None.
      mask_file: its PNG mask, or None. Without both, the truth is a label alone, or
        unknown.
      label: 1, 0 or -1.
      fold: fold or -1.
      group: salted hash of the patient.
      expected_sha256: of the source file, or None.
      num_pixels: of the image, as its header says; no part of what is made.
    """

    image_id: str
    file: SourceFile
    rows: tuple[str, ...] | None
    mask_file: SourceFile | None
    label: int
    fold: int
    group: str
    expected_sha256: str | None
    # Not in the repr, by which a plan is recognised.
    num_pixels: int = dataclasses.field(default=0, repr=False)

    def most_memory(self) -> int:
        """Returns the most bytes of memory that its conversion can need."""
        return _BYTES_PER_PIXEL * self.num_pixels


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
      pixels_sha256: of one of the images, to find duplicates under other ids.
      perceptual_hash: of the largest image made, to find what looks like it.
      notices: codes of what was odd about the input, see data_prep/pixels/notices.py.
      spacing: size of the source's pixels, None where the file does not name it.
    """

    records: dict[int, bytes]
    sums: dict[int, tuple[int, int]]
    source_sha256: str
    pixels_sha256: str
    perceptual_hash: str
    notices: tuple[str, ...]
    spacing: Spacing | None = None


def pixels_of(config: ConvertConfig) -> Pixels:
    """Returns how a conversion makes and stores pixels."""
    names = [field.name for field in dataclasses.fields(Pixels)]
    return Pixels(**{name: getattr(config, name) for name in names})


# Pools know their functions by identity, which two equal partials do not share.
_partial = functools.cache(functools.partial)


def maker(pixels: Pixels) -> Callable[[Task], Converted]:
    """Returns `convert` for some options; the same function for equal ones."""
    return _partial(convert, pixels)


def convert(pixels: Pixels, task: Task) -> Converted:
    """Decodes the file once and makes its record at every size.

    Raises:
      InputError: the file or its label is unusable.
    """
    # Read once, so that the hash is that of the decoded bytes.
    data = task.file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if task.expected_sha256 not in (None, digest):
        raise InputError(
            "DCM_HASH_MISMATCH",
            "the file is not the one in --source_manifest",
            fix="get the file again from its source",
        )
    notices = Notices()
    image = read_image(data, task.file.kind, pixels, notices)
    mask = _mask(task, data, image, notices)
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
    largest = small[max(small)]
    return Converted(
        records=records,
        sums=sums,
        source_sha256=digest,
        pixels_sha256=hashlib.sha256(small[_told_by(pixels.sizes)].data).hexdigest(),
        perceptual_hash=near_duplicates.perceptual_hash(largest),
        notices=notices.codes(),
        spacing=dicom.read_spacing(data) if task.file.kind == "dicom" else None,
    )


def _told_by(sizes: tuple[int, ...]) -> int:
    """Returns the size by which equal pictures are told: a larger one tells no more."""
    return min((size for size in sizes if size >= _TELLING_SIZE), default=max(sizes))


def read_image(data: bytes, kind: Kind, pixels: Pixels, notices: Notices) -> np.ndarray:
    """Decodes a source file's bytes to [H, W] uint8, and adds what is odd in them."""
    if kind != "dicom":
        image = raster.read_pixels(data, voi=pixels.voi, notices=notices)
        return np.ascontiguousarray(image)
    if pixels.dicom_decoder == "tfio":
        # Imported here because it imports TensorFlow, which no other worker needs.
        from data_prep.pixels import dicom_tfio

        return dicom_tfio.read_pixels(data)
    image = dicom.read_pixels(data, voi=pixels.voi, frame=pixels.frame, notices=notices)
    return np.ascontiguousarray(image)


def prepare(image: np.ndarray, size: int, pixels: Pixels) -> np.ndarray:
    """Squares, resizes and equalises [H, W] uint8 to [size, size] uint8."""
    return _equalised(aspect.to_square(image, pixels.aspect), size, pixels)


def _equalised(square: np.ndarray, size: int, pixels: Pixels) -> np.ndarray:
    small = clahe.resize_image(square, size, pixels.interpolation)
    return clahe.parse(pixels.clahe)(small)


def _has_mask(task: Task) -> bool:
    return task.rows is not None or task.mask_file is not None


def _mask(
    task: Task, data: bytes, image: np.ndarray, notices: Notices
) -> np.ndarray | None:
    """Returns the mask of a positive, [H, W] of 0 and 1; None for all others."""
    if task.label != 1 or not _has_mask(task):
        return None
    if task.mask_file is not None:
        mask_bytes = task.mask_file.read_bytes()
        mask = mask_files.read(mask_bytes)
        if task.file.kind != "dicom" and not mask_files.turns_with(mask_bytes, data):
            notices.add("EXIF_MASK_DIFFERS")
    else:
        mask = rle.decode_union(list(task.rows), *image.shape)
    if mask_plausibility.oddities(mask, image):
        notices.add("MASK_OUTLIER")
    return mask


def _mask_bits(task: Task, mask, size: int, pixels: Pixels) -> bytes | None:
    if not _has_mask(task):
        return None
    if task.label == 0:
        return bytes(size * size // 8)
    square = aspect.to_square(mask, pixels.aspect)
    return schema.pack_mask(clahe.resize_mask(square, size))


def _encode(image: np.ndarray, encoding: str) -> bytes:
    if encoding == "png":
        return cv2.imencode(".png", image)[1].tobytes()
    return image.tobytes()
