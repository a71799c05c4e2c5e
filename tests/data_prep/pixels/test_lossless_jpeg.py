import numpy as np
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import lossless_jpeg
from tests import lossless_jpeg_files

imagecodecs = pytest.importorskip("imagecodecs")


@pytest.fixture(scope="module")
def film():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:130, 0:90]
    waves = 2000 + 1200 * np.sin(x / 20) + 700 * np.cos(y / 15)
    return (waves + rng.integers(0, 60, x.shape)).astype(np.uint16)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor(film, bits, predictor):
    image = film << (bits - 12)
    stream = imagecodecs.jpeg8_encode(
        image, lossless=True, bitspersample=bits, predictor=predictor
    )
    np.testing.assert_array_equal(lossless_jpeg.decode(stream), image)


def test_differences_of_all_sizes():
    noise = np.random.default_rng(1).integers(0, 65536, (70, 40)).astype(np.uint16)
    noise[3, 3:6] = 0, 32768, 0  # A difference of 32768 has no further bits.
    stream = imagecodecs.jpeg8_encode(noise, lossless=True, bitspersample=16)
    np.testing.assert_array_equal(lossless_jpeg.decode(stream), noise)


def test_a_stream_of_no_library(film):
    stream = lossless_jpeg_files.encode(film, 12)
    np.testing.assert_array_equal(lossless_jpeg.decode(stream), film)


def test_cuts_and_holes_are_refused(film):
    stream = lossless_jpeg_files.encode(film, 12)
    assert stream != imagecodecs.jpeg8_encode(film, lossless=True, bitspersample=12)
    rng = np.random.default_rng(2)
    damaged = [stream[:length] for length in range(0, len(stream) - 1, 97)]
    for _ in range(150):
        first, length = rng.integers(80, len(stream) - 210), rng.integers(1, 200)
        damaged.append(stream[:first] + stream[first + length :])
        damaged.append(stream[:first] + bytes(length) + stream[first + length :])
    damaged.append(stream[:-2] + b"\0" * 9 + stream[-2:])
    for bad in damaged:
        with pytest.raises(InputError) as e:
            lossless_jpeg.decode(bad)
        assert e.value.code == "DCM_DAMAGED"
    # The decoder itself gives pixels for nearly all of them.
    assert imagecodecs.jpeg8_decode(damaged[60]).shape == film.shape


def test_what_is_left_out_says_so(film):
    stream = lossless_jpeg_files.encode(film, 12)
    scan = stream.index(b"\xff\xda")
    restarts = stream[:scan] + b"\xff\xdd\x00\x04\x00\x5a" + stream[scan:]
    for unusual in (
        restarts,
        stream.replace(b"\x01\x01\x00\x01\x00\x00", b"\1\1\0\1\0\1"),
    ):
        with pytest.raises(InputError) as e:
            lossless_jpeg.decode(unusual)
        assert e.value.code == "DCM_NO_DECODER"


def test_without_the_package(film, monkeypatch):
    monkeypatch.setattr(lossless_jpeg, "has_decoder", lambda: False)
    with pytest.raises(InputError) as e:
        lossless_jpeg.decode(lossless_jpeg_files.encode(film, 12))
    assert (e.value.code, e.value.fix) == ("DCM_NO_DECODER", "pip install imagecodecs")
