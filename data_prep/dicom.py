"""Reads and writes DICOM files; the only module that knows pydicom.

The decoder is named explicitly (Pillow for JPEG): what else is installed must
never change pixels, and Pillow refuses truncated streams.
"""

import contextlib
import dataclasses
import io
import logging
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
import PIL.Image
import pydicom
import pydicom.config
import pydicom.encaps
import pydicom.errors
import pydicom.pixels
import pydicom.uid

from data_prep.failures import Rejected

# A value that breaks its type is our business (and stays out of the log, where
# pydicom's warning would print it), not pydicom's.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

MAX_SIDE_PX = 16_384
# Ends a list of fragments: tag (FFFE,E0DD), length 0.
_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
_MEND = "get the file again from its source, or remove it"
_SECONDARY_CAPTURE = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.7")
_TAGS = (
    "PatientID",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
)
# All that Pillow or the library itself decodes without a further package.
_PLUGINS = {
    pydicom.uid.JPEGBaseline8Bit: "pillow",
    pydicom.uid.RLELossless: "pydicom",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """The few facts of a file that the conversion's plan needs.

    Attributes:
      patient_id: as stored, '' if absent; hash it before it goes anywhere.
      rows: image height, in pixels.
      columns: image width, in pixels.
    """

    patient_id: str
    rows: int
    columns: int


def read_header(path: pathlib.Path) -> Header:
    """Reads a file up to its pixels.

    Raises:
      Rejected: empty, not DICOM, cut short, or with an impossible geometry.
    """
    with _reading(path.stat().st_size):
        dataset = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=list(_TAGS)
        )
        rows, columns = _geometry(dataset)
        patient_id = str(dataset.get("PatientID") or "").strip()
        return Header(patient_id=patient_id, rows=rows, columns=columns)


def read_pixels(data: bytes) -> np.ndarray:
    """Decodes the one grey frame of a file.

    Args:
      data: the file's bytes, so that what is hashed is what is decoded.

    Returns:
      [rows, columns] uint8, 0 black; MONOCHROME1 is inverted.

    Raises:
      Rejected: as `read_header`, or the pixels are missing, cut short, of a
        kind that is not 8-bit grey, or not decodable.
    """
    with _reading(len(data)):
        dataset = pydicom.dcmread(io.BytesIO(data))
        rows, columns = _geometry(dataset)
        _check_grey_frame(dataset)
        if not dataset.get("PixelData"):
            raise Rejected("DCM_NO_PIXELS", "the file has no pixel data", mend=_MEND)
        _check_end(dataset, data)
        pixels = _decode(dataset)
        if pixels.shape != (rows, columns):
            raise Rejected(
                "DCM_BAD_GEOMETRY",
                f"the header says {rows} x {columns}, the stream {pixels.shape}",
                mend=_MEND,
            )
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = 255 - pixels
        return pixels


def write_jpeg_baseline(
    path: pathlib.Path,
    pixels: np.ndarray,
    *,
    patient_id: str,
    study_uid: str,
    series_uid: str,
    sop_uid: str,
    quality: int = 92,
) -> None:
    """Writes [H, W] uint8 as SIIM's files are: 8-bit MONOCHROME2, JPEG Baseline."""
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, format="JPEG", quality=quality)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = sop_uid
    meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = _SECONDARY_CAPTURE
    dataset.SOPInstanceUID = sop_uid
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = series_uid
    dataset.StudyDate = "19010101"
    dataset.StudyTime = "000000.00"
    dataset.AccessionNumber = ""
    dataset.Modality = "CR"
    dataset.ConversionType = "WSD"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.SeriesDescription = "view: PA"
    dataset.PatientName = patient_id
    dataset.PatientID = patient_id
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


@contextlib.contextmanager
def _reading(num_bytes: int) -> Iterator[None]:
    """Turns whatever pydicom raises on a bad file into a Rejected."""
    if not num_bytes:
        raise Rejected("DCM_EMPTY", "the file has no byte", mend=_MEND)
    try:
        # Its warnings quote tag values.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Rejected, MemoryError):
        raise
    except pydicom.errors.InvalidDicomError as e:
        raise Rejected("DCM_NOT_DICOM", "not a DICOM file", mend=_MEND) from e
    except RecursionError as e:
        raise Rejected("DCM_NESTED", "sequences nested too deep", mend=_MEND) from e
    # Elements are converted when they are first read, and damaged bytes raise
    # nearly anything; the texts, too, quote values, so only the type is kept.
    except Exception as e:  # noqa: BLE001
        raise Rejected(
            "DCM_DAMAGED",
            f"the file is damaged or cut short ({type(e).__name__})",
            mend=_MEND,
        ) from e


def _geometry(dataset: pydicom.Dataset) -> tuple[int, int]:
    if not len(dataset):
        # pydicom returns what it has when a file ends in the middle of an element.
        raise Rejected("DCM_TRUNCATED", "the file is cut short", mend=_MEND)
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    for side in (rows, columns):
        if not isinstance(side, int) or not 1 <= side <= MAX_SIDE_PX:
            raise Rejected(
                "DCM_BAD_GEOMETRY",
                f"rows and columns must be 1..{MAX_SIDE_PX}",
                mend=_MEND,
            )
    return rows, columns


def _check_grey_frame(dataset: pydicom.Dataset) -> None:
    photometric = dataset.get("PhotometricInterpretation")
    if dataset.get("SamplesPerPixel") != 1 or photometric not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        raise Rejected("DCM_COLOUR", "not a grey image", mend="export it as grey")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise Rejected("DCM_MULTIFRAME", "more than one frame", mend="split the frames")
    bits = [dataset.get(k) for k in ("BitsAllocated", "BitsStored", "HighBit")]
    if bits != [8, 8, 7] or dataset.get("PixelRepresentation") != 0:
        raise Rejected(
            "DCM_BAD_BITS", "not 8-bit unsigned", mend="export it with 8 bits"
        )


def _check_end(dataset: pydicom.Dataset, data: bytes) -> None:
    """Refuses a file that ends after its last fragment but before the delimiter."""
    element = dataset["PixelData"]
    end = element.file_tell + len(element.value)
    if element.is_undefined_length and _DELIMITER not in data[end - 8 : end + 8]:
        raise Rejected("DCM_TRUNCATED", "the file is cut short", mend=_MEND)


def _decode(dataset: pydicom.Dataset) -> np.ndarray:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    plugin = _PLUGINS.get(syntax, "")
    if syntax is None or (syntax.is_encapsulated and not plugin):
        name = "none" if syntax is None else syntax.name
        raise Rejected(
            "DCM_NO_DECODER",
            f"no decoder for the transfer syntax {name[:60]}",
            mend="rewrite the file as JPEG Baseline or uncompressed",
        )
    array, _ = pydicom.pixels.get_decoder(syntax).as_array(
        dataset, raw=True, decoding_plugin=plugin
    )
    return array
