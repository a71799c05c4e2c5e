"""Reads DICOM files: their headers, and their pixels as a display would show them.

Only this module, dicom_pixels.py and dicom_writer.py import pydicom.
"""

import contextlib
import dataclasses
import hashlib
import io
import logging
import pathlib
import warnings
from collections.abc import Iterator

import pydicom
import pydicom.config
import pydicom.errors

from data_prep.core.errors import InputError
from data_prep.source import dicom_pixels
from data_prep.source import grey

# We check the values ourselves. pydicom would log invalid ones, and they may be
# private.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

MAX_SIDE_PX = 16_384
_FIX = dicom_pixels.GET_AGAIN
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


def read_header(path: pathlib.Path) -> Header:
    """Reads a file up to its pixels, and hashes those without decoding them.

    Raises:
      InputError: empty, not DICOM, cut short, or with an impossible geometry.
    """
    with _reading(path.stat().st_size), path.open("rb") as file:
        dataset = pydicom.dcmread(
            file, stop_before_pixels=True, specific_tags=list(_HEADER_TAGS)
        )
        rows, columns = _geometry(dataset)
        # pydicom stops at the pixels, except in a deflated file, which it reads whole.
        encoded = file.read()
        return Header(
            patient_id=str(dataset.get("PatientID") or "").strip(),
            modality=str(dataset.get("Modality") or "").strip(),
            rows=rows,
            columns=columns,
            burned_in=str(dataset.get("BurnedInAnnotation")).strip() == "YES",
            pixels_digest=hashlib.sha256(encoded).hexdigest() if encoded else "",
        )


def read_pixels(data: bytes, *, voi: str = "first", frame: int | None = None):
    """Decodes one frame as a display would show it.

    The steps are decoding, masking to the stored bits, modality table or rescale,
    values of interest, 8 bits, inversion of MONOCHROME1, and padding to black, in
    the order of DICOM PS3.4 N.2. For the competition's files they change nothing.

    Args:
      data: the file's bytes, so that the caller can hash what is decoded.
      voi: a key of grey.VOI.
      frame: which frame of a multi-frame file; None refuses such a file.

    Returns:
      [rows, columns] uint8, 0 black.

    Raises:
      InputError: as `read_header`, or the pixels are missing, cut short, coloured,
        constant, or not decodable.
    """
    with _reading(len(data)):
        dataset = pydicom.dcmread(io.BytesIO(data))
        shape = _geometry(dataset)
        image = dicom_pixels.stored(dataset, data, shape, frame)
        return grey.to_uint8(image, voi)


@contextlib.contextmanager
def _reading(num_bytes: int) -> Iterator[None]:
    """Turns any exception of pydicom on a bad file into an InputError."""
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
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    for side in (rows, columns):
        if not isinstance(side, int) or not 1 <= side <= MAX_SIDE_PX:
            raise InputError(
                "DCM_BAD_GEOMETRY",
                f"rows and columns must be 1..{MAX_SIDE_PX}",
                fix=_FIX,
            )
    return rows, columns
