import io

import numpy as np
import PIL.Image
import pytest

from data_prep.pixels import stream_header
from data_prep.pixels.stream_header import StreamHeader
from tests import dicom_files
from tests import lossless_jpeg_files

GREY = np.add.outer(5 * np.arange(20), 5 * np.arange(30)).astype(np.uint8)


def streams():
    encode = dicom_files.compressed
    deep = GREY.astype(np.uint16) * 256
    colour = np.stack([GREY] * 3, axis=-1)
    j2k = {"format": "JPEG2000", "irreversible": False}
    return {
        "jpeg": (encode(GREY, format="JPEG"), "jpeg", 1, 8),
        "progressive": (encode(GREY, format="JPEG", progressive=True), "jpeg", 1, 8),
        "colour": (encode(colour, format="JPEG"), "jpeg", 3, 8),
        "lossless": (lossless_jpeg_files.encode(deep, 16), "lossless", 1, 16),
        "j2k": (encode(GREY, no_jp2=True, **j2k), "jpeg2000", 1, 8),
        "jp2": (encode(deep, **j2k), "jpeg2000", 1, 16),
    }


@pytest.mark.parametrize("name", streams())
def test_headers(name):
    stream, kind, channels, bits = streams()[name]
    assert stream_header.read(stream) == StreamHeader(
        kind=kind, shape=(20, 30), channels=channels, bits=bits, signed=False
    )
    for length in range(12):
        assert stream_header.read(stream[:length]) is None


def test_jpeg_ls_and_a_sign():
    jpeg_ls = pytest.importorskip("jpeg_ls")
    header = stream_header.read(bytes(jpeg_ls.encode_array(GREY)))
    assert (header.kind, header.bits, header.shape) == ("jpeg-ls", 8, (20, 30))
    stream = bytearray(streams()["j2k"][0])
    stream[42] = 0x80 | 11
    header = stream_header.read(bytes(stream))
    assert (header.signed, header.bits) == (True, 12)


def test_other_bytes():
    stream = io.BytesIO()
    PIL.Image.fromarray(GREY).save(stream, format="PNG")
    assert stream_header.read(stream.getvalue()) is None
    assert stream_header.read(b"\xff\xd8" + b"\xff\xda" * 9) is None
