import jpeg_ls
import numpy as np
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import jpeg_ls_stream
from data_prep.pixels import stream_header
from tests import dicom_files

SIDE = 32
WHOLE = bytes(jpeg_ls.encode(dicom_files.picture(SIDE)))


def decoded(stream):
    return jpeg_ls_stream.decode(stream, stream_header.read(stream))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_whole_streams_have_their_pixels(bits):
    shape = (32, 48)
    dtype = np.uint8 if bits == 8 else np.uint16
    image = (np.arange(32 * 48).reshape(shape) * 7 % (1 << bits)).astype(dtype)
    stream = jpeg_ls.encode_pixel_data(
        image.tobytes(), rows=32, columns=48, samples_per_pixel=1, bits_stored=bits
    )
    assert np.array_equal(decoded(bytes(stream) + b"\0"), image)


@pytest.mark.parametrize("start", [381, 484, 506, 527, 535, 556, 566, 582])
def test_a_hole_that_the_decoder_does_not_notice_is_refused(start):
    damaged = WHOLE[:start] + WHOLE[start + 40 :]
    # CharLS itself reads it as other pixels.
    assert len(jpeg_ls.decode_pixel_data(damaged)[0]) == SIDE * SIDE
    with pytest.raises(InputError) as caught:
        decoded(damaged)
    assert caught.value.code == "DCM_DAMAGED"


def test_lossy_streams_and_comments_pass():
    image = dicom_files.picture(SIDE)
    lossy = bytes(jpeg_ls.encode_array(image, lossy_error=2))
    assert np.abs(decoded(lossy).astype(int) - image).max() <= 2
    commented = WHOLE[:2] + b"\xff\xfe\0\x05abc" + WHOLE[2:]
    assert np.array_equal(decoded(commented), image)


def test_a_stream_without_its_end_is_refused():
    with pytest.raises(InputError) as caught:
        decoded(WHOLE[:-2])
    assert caught.value.code == "DCM_TRUNCATED"
