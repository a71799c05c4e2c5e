import numpy as np
import pytest
import tensorflow as tf

from data_prep.failures import Failure
from inference import tta


@pytest.mark.parametrize("name", sorted(tta.VIEWS))
def test_inverse_undoes_forward(name):
    view = tta.VIEWS[name]
    x = tf.constant(np.random.default_rng(0).random((2, 8, 8, 1), np.float32))
    np.testing.assert_array_equal(view.inverse(view.forward(x)), x)
    if name != "none":
        assert (view.forward(x).numpy() != x.numpy()).any()


def test_views_are_the_original_and_others_once():
    assert len(tta.views(("hflip", "hflip"))) == 2
    assert len(tta.views(("none",))) == 1
    with pytest.raises(Failure, match="unknown view 'vflip'"):
        tta.views(("vflip",))
