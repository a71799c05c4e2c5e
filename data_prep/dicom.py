"""Reads DICOM files; with dicom_writer.py all that knows pydicom.

The decoder of each transfer syntax is named: what else is installed must never
change pixels. Pillow decodes JPEG and JPEG 2000 and refuses truncated streams.
"""

import contextlib
import dataclasses
import hashlib
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

from data_prep import grey
from data_prep.failures import Rejected

# A value that breaks its type is our business (and stays out of the log, where
# pydicom would print it), not pydicom's.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

MAX_SIDE_PX = 16_384
_UNDEFINED_LENGTH = 0xFFFFFFFF
# Ends a list of fragments: tag (FFFE,E0DD), length 0.
_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
_MEND = "get the file again from its source, or remove it"
_EXPORT = "export it as 8-bit grey, uncompressed or JPEG Baseline"
_HEADER_TAGS = (
    "PatientID",
    "Rows",
    "Columns",
    "Modality",
    "BurnedInAnnotation",
)
_UNCOMPRESSED = (
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
)
_PLUGINS = {
    **dict.fromkeys(_UNCOMPRESSED, ""),
    pydicom.uid.JPEGBaseline8Bit: "pillow",
    pydicom.uid.JPEG2000: "pillow",
    pydicom.uid.JPEG2000Lossless: "pillow",
    pydicom.uid.RLELossless: "pydicom",
    pydicom.uid.JPEGLSLossless: "pyjpegls",
    pydicom.uid.JPEGLSNearLossless: "pyjpegls",
}
_STREAMS_WITH_SIZE = (
    pydicom.uid.JPEGBaseline8Bit,
    pydicom.uid.JPEG2000,
    pydicom.uid.JPEG2000Lossless,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """The few facts of a file that the conversion's plan needs.

    Attributes:
      patient_id: as stored, '' if absent; hash it before it goes anywhere.
      modality: such as "CR", '' if absent.
      rows: image height, in pixels.
      columns: image width, in pixels.
      burned_in: whether the file says that text is drawn into its pixels.
      pixels_digest: hash of the pixels as they are encoded, which finds one
        picture under two ids; '' where they are not stored as they are.
    """

    patient_id: str
    modality: str
    rows: int
    columns: int
    burned_in: bool
    pixels_digest: str


def read_header(path: pathlib.Path) -> Header:
    """Reads a file up to its pixels, and hashes these unread.

    Raises:
      Rejected: empty, not DICOM, cut short, or with an impossible geometry.
    """
    with _reading(path.stat().st_size), path.open("rb") as file:
        dataset = pydicom.dcmread(
            file, stop_before_pixels=True, specific_tags=list(_HEADER_TAGS)
        )
        rows, columns = _geometry(dataset)
        # pydicom stops at the pixels; in a deflated file it has read them all.
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

    Decode, mask to the stored bits, modality table or rescale, values of
    interest, 8 bits, inversion of MONOCHROME1, padding to black: the order of
    DICOM PS3.4 N.2. For the competition's files all of it is the identity.

    Args:
      data: the file's bytes, so that what is hashed is what is decoded.
      voi: a key of grey.VOI.
      frame: which frame of a multi-frame file; None refuses such a file.

    Returns:
      [rows, columns] uint8, 0 black.

    Raises:
      Rejected: as `read_header`, or the pixels are missing, cut short, coloured,
        constant, or not decodable.
    """
    with _reading(len(data)):
        dataset = pydicom.dcmread(io.BytesIO(data))
        shape = _geometry(dataset)
        # As it is in the file: once read, an element has the length that it got.
        stored = dataset.get_item("PixelData") if "PixelData" in dataset else None
        if not stored or not stored.value:
            raise Rejected("DCM_NO_PIXELS", "the file has no pixel data", mend=_MEND)
        if _UNDEFINED_LENGTH != stored.length > len(stored.value):
            raise Rejected("DCM_TRUNCATED", "the pixels are cut short", mend=_MEND)
        bits = _bits(dataset)
        index = _frame(dataset, frame)
        syntax, plugin = _decoder(dataset)
        _check_length(dataset, data, syntax, shape)
        array = None
        if syntax in _STREAMS_WITH_SIZE:
            array = _grey_jpeg(dataset, syntax, index, shape)
        if array is None:
            array, _ = pydicom.pixels.get_decoder(syntax).as_array(
                dataset, raw=True, index=index, decoding_plugin=plugin
            )
        image = _one_channel(array, dataset)
        if image.shape != shape:
            raise _bad_geometry(shape, image.shape)
        return grey.to_uint8(_stored(image, dataset, bits), voi)


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
        _raise_memory_error(e)
        raise Rejected(
            "DCM_DAMAGED",
            f"the file is damaged or cut short ({type(e).__name__})",
            mend=_MEND,
        ) from e


def _raise_memory_error(error: BaseException) -> None:
    """Raises the MemoryError that a decoder has dressed as damage."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, MemoryError):
            raise cause
        cause = cause.__cause__ or cause.__context__


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


def _bits(dataset: pydicom.Dataset) -> int:
    """Returns the stored bits, checked against the others."""
    allocated, stored, high = (
        dataset.get(k) for k in ("BitsAllocated", "BitsStored", "HighBit")
    )
    signed = dataset.get("PixelRepresentation")
    if (
        allocated not in (8, 16)
        or not isinstance(stored, int)
        or not 1 < stored <= allocated
        or high != stored - 1
        or signed not in (0, 1)
    ):
        raise Rejected(
            "DCM_BAD_BITS",
            "bits allocated, stored, high bit and sign contradict each other",
            mend=_EXPORT,
        )
    return stored


def _frame(dataset: pydicom.Dataset, wanted: int | None) -> int:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1 and wanted is None:
        raise Rejected(
            "DCM_MULTIFRAME", f"{frames} frames", mend="choose one with --frame"
        )
    if (wanted or 0) >= frames:
        raise Rejected(
            "DCM_FRAME_MISMATCH",
            f"{frames} frames, --frame={wanted}",
            mend="choose another --frame",
        )
    return wanted or 0


def _decoder(dataset: pydicom.Dataset) -> tuple[pydicom.uid.UID, str]:
    """Returns the transfer syntax and the name of the plugin that decodes it."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise Rejected("DCM_NO_SYNTAX", "no transfer syntax is named", mend=_EXPORT)
    if syntax not in _PLUGINS:
        raise Rejected(
            "DCM_NO_DECODER",
            f"no decoder for {_name(syntax)}",
            mend=_EXPORT,
        )
    plugin = _PLUGINS[syntax]
    if plugin and plugin not in pydicom.pixels.get_decoder(syntax).available_plugins:
        raise Rejected(
            "DCM_NO_DECODER",
            f"no decoder for {_name(syntax)}",
            mend=f"pip install -r requirements-codecs.txt (for {plugin})",
        )
    return syntax, plugin


def _name(syntax: pydicom.uid.UID) -> str:
    """Returns the name of a syntax; one that no table has is a value of the file."""
    known = syntax in pydicom.uid.UID_dictionary
    return syntax.name if known else "an unknown transfer syntax"


def _check_length(dataset, data: bytes, syntax, shape: tuple[int, int]) -> None:
    """Refuses pixel data that is too long or too short, before it is decoded."""
    element = dataset["PixelData"]
    if not syntax.is_encapsulated:
        frame = shape[0] * shape[1] * dataset.SamplesPerPixel
        frame *= dataset.BitsAllocated // 8
        expected = frame * int(dataset.get("NumberOfFrames") or 1)
        if len(element.value) < expected:
            raise Rejected("DCM_TRUNCATED", "the pixels are cut short", mend=_MEND)
        if len(element.value) >= expected + frame:
            raise Rejected(
                "DCM_FRAME_MISMATCH", "more pixels than frames say", mend=_MEND
            )
        return
    end = element.file_tell + len(element.value)
    if element.is_undefined_length and _DELIMITER not in data[end - 8 : end + 8]:
        raise Rejected("DCM_TRUNCATED", "the file is cut short", mend=_MEND)


def _grey_jpeg(dataset, syntax, index: int, shape) -> np.ndarray | None:
    """Decodes a grey JPEG Baseline frame; None for all that pydicom shall decode.

    In every case a stream of another size than the header's is refused before it
    is decoded.
    """
    frames = int(dataset.get("NumberOfFrames") or 1)
    stream = pydicom.encaps.get_frame(dataset.PixelData, index, number_of_frames=frames)
    with PIL.Image.open(io.BytesIO(stream)) as image:
        if image.size != shape[::-1]:
            raise _bad_geometry(shape, image.size[::-1])
        # As pydicom's Pillow plugin would, without opening the stream twice more.
        plain = syntax == pydicom.uid.JPEGBaseline8Bit and image.mode == "L"
        plain = plain and dataset.SamplesPerPixel == 1
        return np.asarray(image) if plain else None


def _one_channel(array: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Returns [rows, columns]; colour that is grey in fact loses its channels."""
    photometric = str(dataset.get("PhotometricInterpretation"))
    if array.ndim == 2 and photometric in ("MONOCHROME1", "MONOCHROME2"):
        return array
    if array.ndim == 3 and photometric == "RGB":
        return grey.from_rgb(array)
    if array.ndim == 3 and photometric in ("YBR_FULL", "YBR_FULL_422"):
        return grey.from_ybr(array)
    raise Rejected("DCM_COLOUR", "not a grey image", mend=_EXPORT)


def _stored(array: np.ndarray, dataset: pydicom.Dataset, bits: int) -> grey.Stored:
    signed = bool(dataset.PixelRepresentation)
    array = grey.masked(array, bits, signed=signed)
    padding = dataset.get("PixelPaddingValue")
    modality = pydicom.pixels.apply_modality_lut(array, dataset)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, 2**bits - 1)
    if "ModalityLUTSequence" in dataset:
        low, high = 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    elif "RescaleSlope" in dataset:
        slope = float(dataset.RescaleSlope)
        intercept = float(dataset.get("RescaleIntercept") or 0)
        if not (np.isfinite([slope, intercept]).all() and slope):
            raise Rejected("DCM_BAD_RESCALE", "slope is 0 or not finite", mend=_EXPORT)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    shown = None
    if "VOILUTSequence" in dataset or "WindowCenter" in dataset:
        shown = pydicom.pixels.apply_voi_lut(modality, dataset, index=0)
    return grey.Stored(
        values=modality,
        low=low,
        high=high,
        windowed=shown,
        padding=_padding(array, padding, dataset.get("PixelPaddingRangeLimit")),
        inverted=dataset.PhotometricInterpretation == "MONOCHROME1",
    )


def _padding(array: np.ndarray, value, limit) -> np.ndarray | None:
    if value is None:
        return None
    first, last = sorted((int(value), int(value if limit is None else limit)))
    return (array >= first) & (array <= last)


def _bad_geometry(header, stream) -> Rejected:
    return Rejected(
        "DCM_BAD_GEOMETRY",
        f"the header says {header[0]} x {header[1]}, the stream {stream}",
        mend=_MEND,
    )
