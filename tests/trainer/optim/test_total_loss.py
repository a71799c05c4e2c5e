import numpy as np
import pytest
import tensorflow as tf

from trainer.optim import losses

LOSS = losses.parse("bce(2)+dice(1)")


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return {
        "mask": rng.integers(0, 2, (3, 4, 4, 1), np.uint8),
        "label": np.array([1, 0, -1]),
    }


def logits(seed):
    values = np.random.default_rng(seed).normal(0, 1, (3, 4, 4, 1))
    return tf.constant(values, tf.float32)


def test_mask_alone(batch):
    values = losses.total_loss(LOSS, batch, {"mask": logits(1)})
    np.testing.assert_allclose(values, LOSS(batch["mask"], logits(1)))


def test_heads_instead_of_their_mean(batch):
    outputs = {"mask_1": logits(1), "mask_2": logits(2), "mask": logits(3)}
    values = losses.total_loss(LOSS, batch, outputs)
    one, two = (LOSS(batch["mask"], logits(k)) for k in (1, 2))
    np.testing.assert_allclose(values, (one + two) / 2, rtol=1e-6)


def test_label(batch):
    label = tf.constant([[2.0], [2.0], [2.0]])
    values = losses.total_loss(LOSS, batch, {"label": label})
    expected = [np.log1p(np.exp(-2)), np.log1p(np.exp(2)), 0]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    both = losses.total_loss(LOSS, batch, {"label": label, "mask": logits(1)})
    np.testing.assert_allclose(
        both, expected + LOSS(batch["mask"], logits(1)), rtol=1e-6
    )


def test_label_smoothing(batch):
    label = tf.constant([[2.0], [2.0], [2.0]])
    values = losses.total_loss(LOSS, batch, {"label": label}, label_smoothing=0.2)
    # Targets 0.9 and 0.1, by hand; the unknown label still costs nothing.
    positive, negative = np.log1p(np.exp(-2)), np.log1p(np.exp(2))
    expected = [0.9 * positive + 0.1 * negative, 0.1 * positive + 0.9 * negative, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
