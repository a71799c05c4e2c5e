import numpy as np
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import grey
from data_prep.pixels.notices import Notices

RAMP = np.arange(0, 1024, 4).reshape(16, 16)


def stored(values, low, high, **fields):
    defaults = {"windowed": None, "padding": None, "inverted": False}
    return grey.Stored(values=values, low=low, high=high, **defaults | fields)


def shown(one, voi="none"):
    notices = Notices()
    return grey.to_uint8(one, voi, notices), notices.codes()


@pytest.mark.parametrize(
    ("largest", "bits", "expected"),
    [
        (1023, 16, 10),
        (16383, 16, 14),
        (16384, 16, 16),
        (1023, 12, 10),
        (1024, 12, 12),
        (0, 16, 1),
        (63, 8, 8),
    ],
)
def test_fitting_bits(largest, bits, expected):
    assert grey.fitting_bits(largest, bits) == expected


def test_a_range_that_is_hardly_used_shrinks():
    expected = np.rint(RAMP / 1023 * 255)
    few = ("FEW_BITS_USED",)
    image, codes = shown(stored(RAMP.astype(np.uint16), 0, 65535))
    np.testing.assert_array_equal(image, expected)
    assert codes == few
    # Values after a rescale, a signed file, and low values that are bright.
    slope = {"slope": -2.0, "intercept": 100.0}
    rescaled = stored(100 - 2 * RAMP, 100 - 2 * 65535, 100, **slope)
    np.testing.assert_array_equal(shown(rescaled)[0], np.rint((1023 - RAMP) / 4.0118))
    signed = stored(RAMP.astype(np.int16), -32768, 32767)
    np.testing.assert_array_equal(shown(signed)[0], expected)
    both_signs = stored((RAMP - 512).astype(np.int16), -32768, 32767)
    np.testing.assert_array_equal(shown(both_signs)[0], expected)
    inverted = stored(RAMP.astype(np.uint16), 0, 65535, inverted=True)
    np.testing.assert_array_equal(shown(inverted)[0], 255 - expected)
    # Padding is no value of the film.
    values = RAMP.astype(np.uint16)
    values[0] = 65535
    padded = stored(values, 0, 65535, padding=values == 65535)
    assert shown(padded)[1] == few
    np.testing.assert_array_equal(shown(padded)[0][1:], expected[1:])


def test_a_range_that_is_used_stays():
    image, codes = shown(stored((RAMP * 16).astype(np.uint16), 0, 65535))
    assert codes == ("FEW_BITS_USED",)
    image, codes = shown(stored((RAMP * 17).astype(np.uint16), 0, 65535))
    assert (image.max(), codes) == (round(1020 * 17 / 257), ())
    dark = (RAMP // 16).astype(np.uint8)
    image, codes = shown(stored(dark, 0, 255))
    np.testing.assert_array_equal(image, dark)
    assert codes == ()


def test_few_levels_are_refused():
    for num_levels, code in ((1, "IMG_CONSTANT"), (31, "IMG_FEW_LEVELS"), (32, None)):
        values = (np.arange(64 * 64) % num_levels * 8).reshape(64, 64).astype(np.uint8)
        if code is None:
            assert shown(stored(values, 0, 255))[0].max() == 31 * 8
            continue
        with pytest.raises(InputError) as e:
            shown(stored(values, 0, 255))
        assert e.value.code == code
    # Levels between the rows and columns that are looked at first.
    sparse = np.zeros((64, 64), np.uint8)
    sparse[1, :40] = np.arange(40)
    assert shown(stored(sparse, 0, 255))[0].max() == 39


def test_a_window_is_ignored_where_it_shows_no_film():
    values = RAMP.astype(np.uint16)
    whole = stored(values, 0, 1023)
    expected = shown(whole)[0]
    for window in (np.zeros((16, 16)), (RAMP > 500).astype(float)):
        image, codes = shown(stored(values, 0, 1023, windowed=window), "first")
        np.testing.assert_array_equal(image, expected)
        assert codes == ("WINDOW_IGNORED",)
    window = np.clip(RAMP / 500, 0, 1)
    image, codes = shown(stored(values, 0, 1023, windowed=window), "first")
    np.testing.assert_array_equal(image, np.rint(window * 255))
    assert codes == ()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float64])
def test_all_types_scale_alike(dtype):
    values = (RAMP * 7 - (3000 if dtype != np.uint16 else 0)).astype(dtype)
    low, high = float(values.min()) + 100, float(values.max()) - 50
    scaled = np.clip((values.astype(float) - low) * 255 / (high - low), 0, 255)
    found = grey._scaled(values, low, high)
    np.testing.assert_array_equal(found, np.rint(scaled))
