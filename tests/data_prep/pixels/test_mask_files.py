import numpy as np
import PIL.Image
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import mask_files
from data_prep.pixels import png_stream
from tests import raster_files
from tests.raster_files import encoded


@pytest.fixture
def mask():
    array = np.zeros((8, 12), np.uint8)
    array[2:4, 3:6] = 1
    return array


def refused(data):
    """Returns the error of a mask that is refused."""
    with pytest.raises(InputError) as e:
        mask_files.read(data)
    assert e.value.fix
    return e.value


def with_palette(mask, colours):
    image = PIL.Image.fromarray(mask).convert("P")
    image.putpalette(colours)
    return raster_files.saved(image)


@pytest.mark.parametrize("value", [1, 128, 255, 65535])
def test_a_mask_of_any_value_is_one(mask, value):
    stored = mask.astype(np.uint16 if value > 255 else np.uint8) * value
    found = mask_files.read(encoded(stored))
    np.testing.assert_array_equal(found, mask)
    assert found.dtype == np.uint8
    assert not mask_files.read(encoded(stored * 0)).any()


def test_one_bit(mask):
    data = raster_files.saved(PIL.Image.fromarray(mask.astype(bool)))
    np.testing.assert_array_equal(mask_files.read(data), mask)


def test_a_mask_without_background_is_all_foreground(mask):
    """It is refused as inverted, which names the remedy."""
    assert mask_files.read(encoded(mask * 0 + 255)).all()


def test_indices_of_a_palette_are_colours(mask):
    for colours, foreground in (
        ([0, 0, 0, 255, 0, 0], mask == 1),
        ([255, 255, 255, 0, 0, 0], mask == 0),
    ):
        found = mask_files.read(with_palette(mask, colours))
        np.testing.assert_array_equal(found, foreground)
    assert refused(with_palette(mask, [0] * 6)).code == "MASK_VALUES"


@pytest.mark.parametrize("deep", [False, True])
def test_one_colour_is_foreground_and_two_are_refused(mask, deep):
    kind = np.uint16 if deep else np.uint8
    red = np.dstack([mask * 200, mask * 0, mask * 0]).astype(kind)
    data = raster_files.png_of(red, png_stream.RGB)
    np.testing.assert_array_equal(mask_files.read(data), mask)
    red[2, 3] = (0, 0, 200)
    fault = refused(raster_files.png_of(red, png_stream.RGB))
    assert (fault.code, fault.reason) == ("MASK_VALUES", "the mask has 3 values")


def test_smoothed_edges_are_refused_with_their_number(mask):
    smooth = mask * 250
    smooth[1, 3:6] = (10, 20, 30)
    fault = refused(encoded(smooth))
    assert (fault.code, fault.reason) == ("MASK_VALUES", "the mask has 5 values")
    assert refused(encoded(mask * 20 + 5)).code == "MASK_VALUES"


def test_transparent_pixels_are_refused(mask):
    opaque = np.full_like(mask, 255)
    data = raster_files.png_of(np.dstack([mask, opaque]), png_stream.GREY_ALPHA)
    np.testing.assert_array_equal(mask_files.read(data), mask)
    data = raster_files.png_of(
        np.dstack([mask * 255, mask * 0, mask * 0, mask * 255]), png_stream.RGB_ALPHA
    )
    fault = refused(data)
    assert fault.code == "MASK_VALUES"
    assert fault.reason == "90 pixels of the mask are transparent"


def test_jpeg_and_animation_and_damage_are_refused(mask):
    assert refused(encoded(mask * 255, "JPEG")).code == "MASK_LOSSY"
    other = PIL.Image.fromarray(mask[::-1])
    animation = encoded(mask, save_all=True, append_images=[other])
    assert refused(animation).code == "MASK_VALUES"
    data = encoded(mask)
    for length in range(len(data)):
        refused(data[:length])
    assert refused(data[:50] + b"\0" + data[51:]).code == "IMG_DAMAGED"


def test_exif_turns_a_mask(mask):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    turned = encoded(mask, exif=exif)
    np.testing.assert_array_equal(mask_files.read(turned), np.rot90(mask, -1))
    assert mask_files.turns_with(turned, encoded(mask, "JPEG", exif=exif))
    assert not mask_files.turns_with(encoded(mask), turned)
