"""Decodes the compressed streams that DICOM wraps, each kind by one named decoder.

What a stream is decides, not what its transfer syntax calls it.
"""

import importlib.util
import io

import numpy as np
import PIL.Image

from data_prep.core.errors import InputError
from data_prep.pixels import jpeg
from data_prep.pixels import jpeg_ls_stream
from data_prep.pixels import lossless_jpeg
from data_prep.pixels.dicom_bits import EXPORT
from data_prep.pixels.stream_header import StreamHeader

# Tells libjpeg that three channels are RGB; without it and JFIF they are YCbCr.
_ADOBE_RGB = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
_JFIF = b"\xff\xe0"
_PACKAGES = {"lossless": lossless_jpeg.PACKAGE, "jpeg-ls": jpeg_ls_stream.PACKAGE}
_MODULES = {
    lossless_jpeg.PACKAGE: lossless_jpeg.PACKAGE,
    jpeg_ls_stream.PACKAGE: jpeg_ls_stream.MODULE,
}


def missing_package(kind: str) -> str:
    """Returns the package that has to be installed for a kind, '' if none has.

    Lossless JPEG of 8 bits needs none.
    """
    package = _PACKAGES.get(kind, "")
    is_there = not package or importlib.util.find_spec(_MODULES[package])
    return "" if is_there else package


def decode(
    stream: bytes, header: StreamHeader, colours: str
) -> tuple[np.ndarray, str, bool | None]:
    """Decodes a stream.

    Args:
      stream: its bytes.
      header: what they say of it.
      colours: what the file says that three channels are.

    Returns:
      Its samples, [H, W] or [H, W, 3]; what three channels are; and whether samples
      are signed, None where the stream does not say.

    Raises:
      InputError: no decoder is there, or the stream is damaged or cut short.
    """
    return _DECODERS[header.kind](stream, header, colours)


def _jpeg(stream: bytes, header: StreamHeader, colours: str):
    if header.bits != 8:
        raise InputError(
            "DCM_NO_DECODER",
            f"no decoder for lossy JPEG of {header.bits} bits",
            fix="decompress it with dcmdjpeg of DCMTK, or " + EXPORT,
        )
    start = stream[: stream.find(b"\xff\xda")]
    is_rgb = header.channels == 3 and colours == "RGB"
    if is_rgb and b"Adobe" not in start and not start.startswith(_JFIF, 2):
        stream = stream[:2] + _ADOBE_RGB + stream[2:]
    return *_by_libjpeg(stream, colours), False


def _by_libjpeg(stream: bytes, colours: str) -> tuple[np.ndarray, str]:
    try:
        samples = jpeg.decode(stream)
    except InputError as e:
        raise InputError("DCM_DAMAGED", e.reason, fix=e.fix) from e
    return samples, colours if samples.ndim == 2 else "RGB"


def _lossless(stream: bytes, header: StreamHeader, colours: str):
    if header.bits == 8:
        samples, colours = _by_libjpeg(stream, colours)
        if samples.ndim == 2:
            lossless_jpeg.check(stream, samples)
        return samples, colours, None
    return lossless_jpeg.decode(stream), colours, None


def _jpeg_ls(stream: bytes, header: StreamHeader, colours: str):
    return jpeg_ls_stream.decode(stream, header), colours, None


def _jpeg2000(stream: bytes, header: StreamHeader, colours: str):
    if header.bits > 16 or (header.channels != 1 and header.bits > 8):
        raise InputError(
            "DCM_NO_DECODER",
            f"no decoder for JPEG 2000 of {header.channels} x {header.bits} bits",
            fix=EXPORT,
        )
    with PIL.Image.open(io.BytesIO(stream), formats=["JPEG2000"]) as image:
        array = np.asarray(image)
    if array.ndim == 3:
        colours = "RGB" if colours in ("YBR_RCT", "YBR_ICT") else colours
        return array, colours, header.signed
    # Pillow moves samples up to fill 8 or 16 bits, and signed ones above 0.
    width = 8 * array.dtype.itemsize
    array = array.view(array.dtype.str.replace("i", "u")) >> (width - header.bits)
    if header.signed:
        signed = array.astype(np.int32) - (1 << (header.bits - 1))
        array = signed.astype(array.dtype.str.replace("u", "i"))
    return array, colours, header.signed


# {kind of stream: its decoder}, which returns samples, what three channels are, and
# whether they are signed, None where the stream does not say.
_DECODERS = {
    "jpeg": _jpeg,
    "lossless": _lossless,
    "jpeg-ls": _jpeg_ls,
    "jpeg2000": _jpeg2000,
}
