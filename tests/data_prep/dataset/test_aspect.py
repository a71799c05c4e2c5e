import numpy as np
import pytest

from data_prep.build import clahe
from data_prep.dataset import aspect


@pytest.mark.parametrize("mode", aspect.ASPECTS)
@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (64, 64), (65, 96)])
def test_there_and_back(mode, shape):
    mask = np.zeros(shape, np.uint8)
    mask[10:40, 20:50] = 1
    small = clahe.resize_mask(aspect.to_square(mask, mode), 96)
    assert small.shape == (96, 96)
    back = aspect.from_square(small.astype(np.float32), *shape, mode) >= 0.5
    assert back.shape == shape
    assert (back != mask).mean() < 0.02


def test_pad_keeps_the_shape_of_things():
    square = aspect.to_square(np.ones((10, 20), np.uint8), "pad")
    assert square.shape == (20, 20)
    np.testing.assert_array_equal(square[5:15], 1)
    assert square.sum() == 200
    np.testing.assert_array_equal(aspect.to_square(square, "pad"), square)


def test_where_the_image_lies_in_what_the_square_shows():
    assert aspect.placed(10, 20, "pad") == (5, 0, 20, 20)
    assert aspect.placed(21, 10, "pad") == (0, 5, 21, 21)
    assert aspect.placed(10, 20, "stretch") == (0, 0, 10, 20)
    assert aspect.placed(10, 10, "pad") == (0, 0, 10, 10)
