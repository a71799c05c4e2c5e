import numpy as np
import pytest

from data_prep.core.errors import CommandError
from inference.ensemble import tta


@pytest.mark.parametrize("name", sorted(tta.VIEWS))
def test_inverse_undoes_forward(name):
    view = tta.VIEWS[name]
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.float32)
    viewed = view.forward(image)
    assert name == "none" or not np.array_equal(viewed, image)
    # The inverse moves a mask back; it does not invert grey values.
    expected = 255 - image if name == "invert" else image
    np.testing.assert_array_equal(view.inverse(viewed), expected)


def test_views_are_the_original_and_different_others():
    assert len(tta.views(("hflip", "hflip"))) == 2
    assert len(tta.views(("none",))) == 1
    assert tta.canonical(("vflip", "none", "hflip")) == ["none", "hflip", "vflip"]
    with pytest.raises(CommandError, match="unknown view 'spin' in --classifier_tta"):
        tta.views(("spin",), "classifier_tta")
