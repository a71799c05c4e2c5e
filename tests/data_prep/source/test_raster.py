import io

import numpy as np
import PIL.Image
import pytest

from data_prep.core.errors import InputError
from data_prep.source import raster


def encoded(array, kind="PNG", **options):
    stream = io.BytesIO()
    PIL.Image.fromarray(array).save(stream, format=kind, **options)
    return stream.getvalue()


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)


def test_grey_png_is_itself(image):
    np.testing.assert_array_equal(raster.read_pixels(encoded(image)), image)
    assert raster.size_of(encoded(image)) == (20, 30)


def test_grey_in_colour_is_grey_and_colour_is_refused(image):
    rgb = np.stack([image] * 3, axis=-1)
    np.testing.assert_array_equal(raster.read_pixels(encoded(rgb)), image)
    rgb[0, 0, 0] ^= 128
    with pytest.raises(InputError, match="DCM_COLOUR"):
        raster.read_pixels(encoded(rgb))


def test_sixteen_bits_are_scaled():
    image = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    expected = np.rint(image / 65535 * 255)
    np.testing.assert_array_equal(raster.read_pixels(encoded(image)), expected)


def test_jpeg(image):
    smooth = np.tile(np.arange(0, 240, 8, dtype=np.uint8), [20, 1])
    decoded = raster.read_pixels(encoded(smooth, "JPEG", quality=95))
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("value", [1, 128, 255])
def test_mask_of_any_value_is_one(value):
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4, 3] = value
    np.testing.assert_array_equal(raster.read_mask(encoded(mask)), mask > 0)
    assert not raster.read_mask(encoded(mask * 0)).any()


def test_palette_mask():
    mask = PIL.Image.new("P", (4, 4), 0)
    mask.putpalette([0, 0, 0, 255, 0, 0])
    mask.putpixel((1, 2), 1)
    stream = io.BytesIO()
    mask.save(stream, format="PNG")
    assert raster.read_mask(stream.getvalue()).sum() == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_truncation_is_refused(image, kind):
    data = encoded(image, kind)
    for length in range(len(data)):
        with pytest.raises(InputError):
            raster.read_pixels(data[:length])


def test_no_image():
    for data, code in ((b"", "IMG_EMPTY"), (b"GIF89a", "IMG_NOT_IMAGE")):
        with pytest.raises(InputError, match=code):
            raster.read_pixels(data)
    with pytest.raises(InputError, match="IMG_CONSTANT"):
        raster.read_pixels(encoded(np.zeros((4, 4), np.uint8)))


def test_bomb_is_refused_before_decoding(monkeypatch, image):
    monkeypatch.setattr(raster, "_decode", None)
    monkeypatch.setattr(raster, "MAX_PIXELS", 599)
    with pytest.raises(InputError, match="IMG_BOMB"):
        raster.read_pixels(encoded(image))
