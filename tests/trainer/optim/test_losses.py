import numpy as np
import pytest
import tensorflow as tf

from trainer.optim import losses

LARGE = 50.0


def pair(truth, prediction, size=16):
    """Truth and logits of an image, each constant."""
    shape = (1, size, size, 1)
    logits = np.full(shape, LARGE if prediction else -LARGE, np.float32)
    return np.full(shape, truth, np.float32), logits


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [(0, 0, 0.0), (0, 1, 256 / 257), (1, 1, 0.0), (1, 0, 256 / 257)],
    ids=["empty_empty", "empty_full", "full_full", "full_empty"],
)
def test_dice_corners(truth, prediction, expected):
    value = losses.parse("dice")(*pair(truth, prediction))
    np.testing.assert_allclose(value, [expected], atol=1e-6)


def test_dice_is_per_image():
    hit, miss = pair(1, 1), pair(1, 0)
    both = [np.concatenate(x) for x in zip(hit, miss, strict=True)]
    np.testing.assert_allclose(losses.parse("dice")(*both), [0, 256 / 257], atol=1e-6)


def test_empty_truth_has_a_gradient():
    truth = tf.zeros([1, 4, 4, 1])
    logits = tf.Variable(tf.zeros([1, 4, 4, 1]))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(losses.parse("dice")(truth, logits))
    assert (tape.gradient(value, logits).numpy() > 0).all()


def test_bce_and_focal_by_hand():
    truth = np.array([1.0, 0.0], np.float32).reshape(1, 1, 2, 1)
    logits = np.zeros((1, 1, 2, 1), np.float32)
    entropy = np.log(2)
    np.testing.assert_allclose(losses.parse("bce")(truth, logits), [entropy], rtol=1e-6)
    np.testing.assert_allclose(
        losses.parse("focal(gamma=2)")(truth, logits), [0.25 * entropy], rtol=1e-6
    )
    logits = np.array([2.0, 2.0], np.float32).reshape(1, 1, 2, 1)
    p = 1 / (1 + np.exp(-2.0))
    expected = (-((1 - p) ** 2) * np.log(p) - p**2 * np.log(1 - p)) / 2
    np.testing.assert_allclose(
        losses.parse("focal")(truth, logits), [expected], rtol=1e-5
    )


def test_sum_is_weighted_and_float32():
    truth, logits = pair(1, 0, 4)
    logits = logits / LARGE
    parts = {
        n: losses.parse(n)(truth, logits).numpy() for n in ("bce", "dice", "focal")
    }
    total = losses.parse("bce(3)+dice(1)+focal(4)")
    expected = 3 * parts["bce"] + parts["dice"] + 4 * parts["focal"]
    np.testing.assert_allclose(total(truth, logits), expected, rtol=1e-6)
    half = total(tf.cast(truth, tf.uint8), tf.cast(logits, tf.float16))
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, expected, rtol=1e-3)


def lesion(seed=0):
    """Two images of random logits, the second without a lesion."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((2, 8, 8, 1), np.float32)
    truth[0, 2:5, 2:6] = 1
    return truth, rng.normal(size=truth.shape).astype(np.float32)


def test_dice_of_positives_only():
    truth, logits = lesion()
    every = losses.parse("dice")(truth, logits).numpy()
    assert every[1] > 0.9
    some = losses.parse("dice(positives_only=true)")(truth, logits).numpy()
    np.testing.assert_allclose(some, [every[0], 0])


def test_log_dice_is_the_log_of_dice():
    truth, logits = lesion()
    plain = losses.parse("dice")(truth, logits).numpy()
    logged = losses.parse("log_dice(2)")(truth, logits).numpy()
    np.testing.assert_allclose(logged, -2 * np.log(1 - plain), rtol=1e-5)


def test_tversky():
    truth, logits = lesion()
    even = losses.parse("tversky(alpha=0.5, beta=0.5)")(truth, logits)
    np.testing.assert_allclose(even, losses.parse("dice")(truth, logits), rtol=1e-5)
    # One true positive, one false negative, one false positive.
    truth = np.array([1, 1, 0, 0], np.float32).reshape(1, 2, 2, 1)
    logits = LARGE * np.array([1, -1, 1, -1], np.float32).reshape(1, 2, 2, 1)
    value = losses.parse("tversky(alpha=0.2, beta=0.6, smooth=0)")(truth, logits)
    np.testing.assert_allclose(value, [1 - 1 / 1.8], rtol=1e-6)


def test_extreme_logits_stay_finite():
    for truth in (0, 1):
        x, _ = pair(truth, 1, 2)
        for logit in (-1e4, 1e4):
            value = losses.parse("bce+dice+focal+log_dice+tversky")(
                x, np.full_like(x, logit)
            )
            assert np.isfinite(value).all()


def test_unknown():
    with pytest.raises(ValueError, match="Unknown loss. Expected one of .*'dice'"):
        losses.parse("bce+jaccard")
