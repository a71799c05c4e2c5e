"""The probability of an image, from its map and a temperature."""

import numpy as np
import pytest

from inference.masks import image_probability


def test_the_likeliest_pixel_decides():
    values = np.array([[0.25, 0.75], [0.5, 0.0]], np.float16)
    assert image_probability.of_map(values) == 0.75


def test_a_temperature_divides_the_logit():
    given = np.array([0.2, 0.5, 0.9])
    logits = np.log(given / (1 - given))
    found = image_probability.calibrated(given, 2.5)
    np.testing.assert_allclose(np.log(found / (1 - found)), logits / 2.5, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_certain_values_stay_finite_and_in_order(temperature):
    found = image_probability.calibrated(np.array([0.0, 0.5, 1.0]), temperature)
    assert 0 < found[0] < found[1] == 0.5 < found[2] < 1 or temperature < 1
    assert np.isfinite(found).all()
    assert found[0] < 0.5 < found[2]
