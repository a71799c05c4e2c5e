"""Reads DICOM files: their headers, and their pixels as a display would show them.

Only the modules dicom*.py here, and the phantom's writer, import pydicom.
"""

import contextlib
import dataclasses
import hashlib
import io
import logging
import pathlib
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pydicom
import pydicom.config
import pydicom.errors

from data_prep.core import blame
from data_prep.core.errors import InputError
from data_prep.pixels import dicom_file
from data_prep.pixels import dicom_pixels
from data_prep.pixels import dicom_reference
from data_prep.pixels import dicom_spacing
from data_prep.pixels import dicom_tags
from data_prep.pixels import grey
from data_prep.pixels.dicom_spacing import Spacing
from data_prep.pixels.notices import Notices

# We check the values ourselves. pydicom would log invalid ones, and they may be
# private.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

MAX_SIDE_PX = 16_384
# The file meta elements, which name the transfer syntax, stand within these.
_META_BYTES = 512
_DEFLATED = pydicom.uid.DeflatedExplicitVRLittleEndian.encode()
_FIX = dicom_file.GET_AGAIN
_HEADER_TAGS = (
    "PatientID",
    "Rows",
    "Columns",
    "Modality",
    "BurnedInAnnotation",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What the conversion's plan needs to know about a file.

    Attributes:
      patient_id: as stored, '' if absent; hash it before storing it anywhere.
      modality: such as "CR", '' if absent.
      rows: image height, in pixels.
      columns: image width, in pixels.
      burned_in: whether the header says that text is drawn into the pixels.
      pixels_digest: hash of the encoded pixels, which finds one picture under two
        ids; '' for a deflated file.
    """

    patient_id: str
    modality: str
    rows: int
    columns: int
    burned_in: bool
    pixels_digest: str


def read_header(source: pathlib.Path | BinaryIO) -> Header:
    """Reads a file up to its pixels, and hashes those without decoding them.

    Args:
      source: the file, or an open one that can be sought in.

    Raises:
      InputError: empty, not DICOM, cut short, or with an impossible geometry.
    """
    with contextlib.ExitStack() as stack:
        file = source
        if isinstance(source, pathlib.Path):
            file = stack.enter_context(source.open("rb"))
        stack.enter_context(_reading(file.seek(0, io.SEEK_END)))
        file.seek(0)
        dataset = dicom_file.parse(file, notices=Notices(), tags=_HEADER_TAGS)
        rows, columns = _geometry(dataset)
        # A deflated file was read whole.
        start = file.tell()
        # In blocks, because a file of many frames may be larger than the memory.
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Header(
            patient_id=dicom_tags.text(dataset, "PatientID"),
            modality=dicom_tags.text(dataset, "Modality"),
            rows=rows,
            columns=columns,
            burned_in=dicom_tags.text(dataset, "BurnedInAnnotation") == "YES",
            pixels_digest=digest if file.tell() > start else "",
        )


def read_sop_instance_uid(file: BinaryIO) -> str:
    """Returns the SOPInstanceUID in a stream of a file's bytes, '' if it has none.

    Raises:
      InputError: empty, not DICOM, or damaged.
    """
    with _reading(file.seek(0, io.SEEK_END)):
        file.seek(0)
        dataset = dicom_file.parse(file, notices=Notices(), tags=("SOPInstanceUID",))
        return dicom_tags.text(dataset, "SOPInstanceUID")


def read_spacing(data: bytes) -> Spacing | None:
    """Returns the size of the pixels that a file's header names, None if it has none.

    It is no reason to refuse a film, so a file whose header cannot be read has none.
    """
    try:
        with _reading(len(data)):
            tags = dicom_spacing.ELEMENTS
            header = dicom_file.parse(io.BytesIO(data), notices=Notices(), tags=tags)
            return dicom_spacing.of_dataset(header)
    except InputError:
        return None


def read_reference(data: bytes) -> pydicom.Dataset:
    """Returns what an object that is derived from a film repeats of its header.

    Raises:
      InputError: as `read_header`, or as `dicom_reference.of_dataset`.
    """
    with _reading(len(data)):
        tags = dicom_reference.ELEMENTS
        header = dicom_file.parse(io.BytesIO(data), notices=Notices(), tags=tags)
        _geometry(header)
        return dicom_reference.of_dataset(header)


def has_picture(head: bytes) -> bool:
    """Returns whether the first bytes of a file are the header of an image.

    It tells a DICOM file without a preamble from any other file. A deflated one counts
    as an image: inflating it here would let a bomb into the calling process.
    """
    if _DEFLATED in head[:_META_BYTES]:
        return True
    try:
        with _reading(len(head)):
            _geometry(
                dicom_file.parse(
                    io.BytesIO(head), notices=Notices(), tags=("Rows", "Columns")
                )
            )
    except InputError:
        return False
    return True


def read_pixels(
    data: bytes,
    *,
    voi: str = "first",
    frame: int | None = None,
    notices: Notices | None = None,
) -> np.ndarray:
    """Decodes one frame as a display would show it.

    The steps are decoding, masking to the stored bits, modality table or rescale,
    values of interest, 8 bits, inversion of MONOCHROME1, and padding to black, in
    the order of DICOM PS3.4 N.2. For the competition's files they change nothing.

    Args:
      data: the file's bytes, so that the caller can hash what is decoded.
      voi: a key of grey.VOI.
      frame: which frame of a multi-frame file; None refuses such a file.
      notices: takes the codes of what is odd about the file.

    Returns:
      [rows, columns] uint8, 0 black.

    Raises:
      InputError: as `read_header`, or the pixels are missing, cut short, coloured,
        constant, or not decodable.
    """
    notices = Notices() if notices is None else notices
    with _reading(len(data)):
        dataset = dicom_file.parse(io.BytesIO(data), notices=notices)
        shape = _geometry(dataset)
        image = dicom_pixels.stored(
            dataset, data, shape, frame, notices, windowed=voi == "first"
        )
        return grey.to_uint8(image, voi, notices)


@contextlib.contextmanager
def _reading(num_bytes: int) -> Iterator[None]:
    """Turns any exception of pydicom on a bad file into an InputError.

    A fault of ours, of the disk or of the network stays what it is.
    """
    if not num_bytes:
        raise InputError("DCM_EMPTY", "the file has no byte", fix=_FIX)
    try:
        # The warnings of pydicom quote tag values.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError):
        raise
    except pydicom.errors.InvalidDicomError as e:
        raise InputError("DCM_NOT_DICOM", "not a DICOM file", fix=_FIX) from e
    except RecursionError as e:
        raise InputError("DCM_NESTED", "sequences nested too deep", fix=_FIX) from e
    # pydicom converts elements when they are first read, and damaged bytes raise
    # nearly anything. Messages quote values too, so only the type is kept.
    except Exception as e:  # noqa: BLE001
        _raise_memory_error(e)
        if not blame.is_of_input(e):
            raise
        raise InputError(
            "DCM_DAMAGED",
            f"the file is damaged or cut short ({type(e).__name__})",
            fix=_FIX,
        ) from e


def _raise_memory_error(error: BaseException) -> None:
    """Raises the MemoryError that a decoder may have wrapped in another exception."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, MemoryError):
            raise cause
        cause = cause.__cause__ or cause.__context__


def _geometry(dataset: pydicom.Dataset) -> tuple[int, int]:
    if not len(dataset):
        # pydicom returns what it has read when a file ends within an element.
        raise InputError("DCM_TRUNCATED", "the file is cut short", fix=_FIX)
    rows, columns = (dicom_tags.whole(dataset, side) for side in ("Rows", "Columns"))
    if "Rows" not in dataset and "Columns" not in dataset:
        # A report or another object without pixels, or a file that ends before them.
        raise InputError(
            "DCM_BAD_GEOMETRY", "it holds no image, or is cut short", fix=_FIX
        )
    for side in (rows, columns):
        if side is None or not 1 <= side <= MAX_SIDE_PX:
            raise InputError(
                "DCM_BAD_GEOMETRY",
                f"rows and columns must be 1..{MAX_SIDE_PX}",
                fix=_FIX,
            )
    return rows, columns
