"""Decodes the pixels of a DICOM dataset and applies its modality transformation.

The decoder of each transfer syntax is named, because other installed libraries must
never change pixels. Pillow decodes JPEG and JPEG 2000 and refuses truncated streams.
"""

import io

import numpy as np
import PIL.Image
import pydicom
import pydicom.encaps
import pydicom.pixels
import pydicom.uid

from data_prep.core.errors import InputError
from data_prep.source import grey

GET_AGAIN = "get the file again from its source, or remove it"
EXPORT = "export it as 8-bit grey, uncompressed or JPEG Baseline"
_UNDEFINED_LENGTH = 0xFFFFFFFF
# The end of a list of fragments: tag (FFFE,E0DD), length 0.
_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
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


def decoders() -> dict[str, str]:
    """Returns {name of a transfer syntax: plugin that is missing to decode it}.

    The plugin is "" for a syntax that can be decoded here.
    """
    return {
        syntax.name: "" if _has(syntax, plugin) else plugin
        for syntax, plugin in _PLUGINS.items()
    }


def stored(
    dataset: pydicom.Dataset, data: bytes, shape: tuple[int, int], frame: int | None
) -> grey.Stored:
    """Decodes one frame.

    Args:
      dataset: the parsed file, with its pixels.
      data: the file's bytes.
      shape: rows and columns, as the header says.
      frame: which frame of a multi-frame file; None refuses such a file.

    Returns:
      Its grey values, and how to show them.

    Raises:
      InputError: the pixels are missing, cut short, coloured, or not decodable.
    """
    # Take the raw element: a parsed one has the length of what could be read.
    element = dataset.get_item("PixelData") if "PixelData" in dataset else None
    if not element or not element.value:
        raise InputError("DCM_NO_PIXELS", "the file has no pixel data", fix=GET_AGAIN)
    if _UNDEFINED_LENGTH != element.length > len(element.value):
        raise InputError("DCM_TRUNCATED", "the pixels are cut short", fix=GET_AGAIN)
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
    return _stored(image, dataset, bits)


def _bits(dataset: pydicom.Dataset) -> int:
    """Returns the number of stored bits after checking the related elements."""
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
        raise InputError(
            "DCM_BAD_BITS",
            "bits allocated, stored, high bit and sign contradict each other",
            fix=EXPORT,
        )
    return stored


def _frame(dataset: pydicom.Dataset, wanted: int | None) -> int:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1 and wanted is None:
        raise InputError(
            "DCM_MULTIFRAME", f"{frames} frames", fix="choose one with --frame"
        )
    if (wanted or 0) >= frames:
        raise InputError(
            "DCM_FRAME_MISMATCH",
            f"{frames} frames, --frame={wanted}",
            fix="choose another --frame",
        )
    return wanted or 0


def _decoder(dataset: pydicom.Dataset) -> tuple[pydicom.uid.UID, str]:
    """Returns the transfer syntax and the name of the plugin that decodes it."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise InputError("DCM_NO_SYNTAX", "no transfer syntax is named", fix=EXPORT)
    if syntax not in _PLUGINS:
        raise InputError(
            "DCM_NO_DECODER",
            f"no decoder for {_name(syntax)}",
            fix=EXPORT,
        )
    plugin = _PLUGINS[syntax]
    if not _has(syntax, plugin):
        raise InputError(
            "DCM_NO_DECODER",
            f"no decoder for {_name(syntax)}",
            fix=f"pip install {plugin}",
        )
    return syntax, plugin


def _has(syntax: pydicom.uid.UID, plugin: str) -> bool:
    decoder = pydicom.pixels.get_decoder(syntax)
    return not plugin or plugin in decoder.available_plugins


def _name(syntax: pydicom.uid.UID) -> str:
    """Returns the name of a syntax, but never a value that no table has."""
    known = syntax in pydicom.uid.UID_dictionary
    return syntax.name if known else "an unknown transfer syntax"


def _check_length(dataset, data: bytes, syntax, shape: tuple[int, int]) -> None:
    """Refuses pixel data of the wrong length before it is decoded."""
    element = dataset["PixelData"]
    if not syntax.is_encapsulated:
        frame = shape[0] * shape[1] * dataset.SamplesPerPixel
        frame *= dataset.BitsAllocated // 8
        expected = frame * int(dataset.get("NumberOfFrames") or 1)
        if len(element.value) < expected:
            raise InputError("DCM_TRUNCATED", "the pixels are cut short", fix=GET_AGAIN)
        if len(element.value) >= expected + frame:
            raise InputError(
                "DCM_FRAME_MISMATCH", "more pixels than frames say", fix=GET_AGAIN
            )
        return
    end = element.file_tell + len(element.value)
    if element.is_undefined_length and _DELIMITER not in data[end - 8 : end + 8]:
        raise InputError("DCM_TRUNCATED", "the file is cut short", fix=GET_AGAIN)


def _grey_jpeg(dataset, syntax, index: int, shape) -> np.ndarray | None:
    """Decodes a grey JPEG Baseline frame; returns None where pydicom must decode.

    A stream whose size is not that of the header is refused before it is decoded.
    """
    frames = int(dataset.get("NumberOfFrames") or 1)
    stream = pydicom.encaps.get_frame(dataset.PixelData, index, number_of_frames=frames)
    with PIL.Image.open(io.BytesIO(stream)) as image:
        if image.size != shape[::-1]:
            raise _bad_geometry(shape, image.size[::-1])
        # pydicom's Pillow plugin does the same, but opens the stream twice more.
        is_grey = syntax == pydicom.uid.JPEGBaseline8Bit and image.mode == "L"
        is_grey = is_grey and dataset.SamplesPerPixel == 1
        return np.asarray(image) if is_grey else None


def _one_channel(array: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Returns [rows, columns]; accepts colour images whose pixels are all grey."""
    photometric = str(dataset.get("PhotometricInterpretation"))
    if array.ndim == 2 and photometric in ("MONOCHROME1", "MONOCHROME2"):
        return array
    if array.ndim == 3 and photometric == "RGB":
        return grey.from_rgb(array)
    if array.ndim == 3 and photometric in ("YBR_FULL", "YBR_FULL_422"):
        return grey.from_ybr(array)
    raise InputError("DCM_COLOUR", "not a grey image", fix=EXPORT)


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
            raise InputError("DCM_BAD_RESCALE", "slope is 0 or not finite", fix=EXPORT)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    windowed = None
    if "VOILUTSequence" in dataset or "WindowCenter" in dataset:
        windowed = pydicom.pixels.apply_voi_lut(modality, dataset, index=0)
    return grey.Stored(
        values=modality,
        low=low,
        high=high,
        windowed=windowed,
        padding=_padding(array, padding, dataset.get("PixelPaddingRangeLimit")),
        inverted=dataset.PhotometricInterpretation == "MONOCHROME1",
    )


def _padding(array: np.ndarray, value, limit) -> np.ndarray | None:
    if value is None:
        return None
    first, last = sorted((int(value), int(value if limit is None else limit)))
    return (array >= first) & (array <= last)


def _bad_geometry(header, stream) -> InputError:
    return InputError(
        "DCM_BAD_GEOMETRY",
        f"the header says {header[0]} x {header[1]}, the stream {stream}",
        fix=GET_AGAIN,
    )
