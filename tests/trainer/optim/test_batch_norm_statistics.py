import keras
import numpy as np
import tensorflow as tf

from trainer.models import registry
from trainer.optim import batch_norm_statistics


def test_batch_norm_is_re_estimated_over_several_batches():
    keras.utils.set_random_seed(0)
    model = registry.build("tiny", image_size=32)
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), np.uint8)
    data = tf.data.Dataset.from_tensor_slices({"image": images}).batch(4)
    conv, norm = model.get_layer("conv"), model.get_layer("bn")
    norm.momentum = 0.77
    batch_norm_statistics.reestimate(
        tf.distribute.get_strategy(), model, data, num_batches=2
    )
    seen = conv(images / np.float32(255)).numpy()
    halves = np.split(seen, 2)
    mean = np.mean([h.mean((0, 1, 2)) for h in halves], axis=0)
    variance = np.mean([h.var((0, 1, 2)) for h in halves], axis=0)
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-4)
    assert norm.momentum == 0.77
