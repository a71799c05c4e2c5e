"""Decodes JPEG-LS (ISO/IEC 14495-1), and proves the result of lossless streams.

The decoder, CharLS within pyjpegls, does not notice all damage. The code of an image is
a function of its pixels, though, so that the pixels are coded again and compared.
"""

import importlib.util

import numpy as np

from data_prep.core.errors import InputError
from data_prep.pixels.dicom_file import GET_AGAIN
from data_prep.pixels.stream_header import StreamHeader

PACKAGE = "pyjpegls"
MODULE = "jpeg_ls"
_END = b"\xff\xd9"
_SCAN, _FRAME = 0xDA, 0xF7
# APP0 to APP15 and comments say nothing of the code.
_SAY_NOTHING = (*range(0xE0, 0xF0), 0xFE)


def decode(stream: bytes, header: StreamHeader) -> np.ndarray:
    """Decodes a stream.

    Returns:
      [H, W] or [H, W, 3], uint8 up to 8 bits, else uint16.

    Raises:
      InputError: the decoder is missing, or the stream is damaged or cut short.
      Exception: of the decoder, on damaged bytes.
    """
    if not importlib.util.find_spec(MODULE):
        raise InputError(
            "DCM_NO_DECODER", "no decoder for JPEG-LS", fix=f"pip install {PACKAGE}"
        )
    stream = stream.rstrip(b"\0")
    if not stream.endswith(_END):
        # The decoder needs many seconds to find out.
        raise InputError("DCM_TRUNCATED", "the stream is cut short", fix=GET_AGAIN)
    import jpeg_ls  # Optional.

    data, info = jpeg_ls.decode_pixel_data(stream)
    flat = np.frombuffer(data, np.uint8 if header.bits <= 8 else "<u2")
    if header.channels == 1:
        _check(stream, bytes(data), header)
        return flat.reshape(header.shape)
    if info["interleave_mode"] == 0:
        return flat.reshape(3, *header.shape).transpose(1, 2, 0)
    return flat.reshape(*header.shape, 3)


def _check(stream: bytes, data: bytes, header: StreamHeader) -> None:
    """Refuses a lossless grey stream that is not the code of its pixels.

    Streams with parameters of their own or with restarts, and lossy ones, pass.
    """
    start = _code_start(stream)
    if start is None:
        return
    import jpeg_ls  # Optional.

    again = bytes(
        jpeg_ls.encode_pixel_data(
            data,
            rows=header.shape[0],
            columns=header.shape[1],
            samples_per_pixel=1,
            bits_stored=header.bits,
        )
    )
    if stream[start:] != again[_code_start(again) :].rstrip(b"\0"):
        raise InputError("DCM_DAMAGED", "the JPEG-LS stream is damaged", fix=GET_AGAIN)


def _code_start(stream: bytes) -> int | None:
    """Returns where the code of a lossless stream of default parameters begins."""
    place = 2
    while stream[place : place + 1] == b"\xff":
        marker = stream[place + 1]
        length = int.from_bytes(stream[place + 2 : place + 4], "big")
        if marker == _SCAN:
            # The number of components, two bytes for each, and the largest error.
            near = stream[place + 5 + 2 * stream[place + 4]]
            return None if near else place + 2 + length
        if marker not in (_FRAME, *_SAY_NOTHING):
            return None
        place += 2 + length
    return None
