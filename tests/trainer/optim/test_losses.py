import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_prep.core.errors import ConfigError
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
    value = losses.parse("tversky(alpha=0.2, beta=0.6, smooth=1e-9)")(truth, logits)
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


@pytest.mark.parametrize(
    "text",
    [
        "dice(smooth=0)",
        "log_dice(smooth=0)",
        "tversky(smooth=0)",
        "dice(smooth=-1)",
        "dice(smooth=1e999)",
        "dice(smooth=word)",
        "dice(smooth=true)",
        "dice(smooth=1:2)",
        "dice(positives_only=1)",
        "focal(gamma=0)",
        "focal(gamma=0.5)",
        "focal(gamma=-1)",
        "focal(gamma=1e999)",
        "bce(-1)",
        "bce(weight=word)",
        "bce(1e999)",
        "bce(true)",
        "bce(0)",
        "bce(0)+dice(0, smooth=1)",
        "tversky(alpha=0, beta=0)",
        "tversky(alpha=-0.1)",
        "tversky(beta=-0.1)",
        "tversky(alpha=1e999)",
    ],
)
def test_arguments_are_checked(text):
    with pytest.raises(ConfigError, match=r"^Expected .*\. Received: .*"):
        losses.parse(text)


def test_a_refusal_names_the_argument_and_its_loss():
    with pytest.raises(ConfigError, match="Received: smooth=0 of the loss log_dice$"):
        losses.parse("bce+log_dice(2, smooth=0)")


def test_a_term_may_have_weight_0_beside_another():
    truth, logits = lesion()
    both = losses.parse("bce(2)+dice(0)")(truth, logits)
    np.testing.assert_array_equal(both, losses.parse("bce(2)")(truth, logits))


def numbers(least, most):
    """Numbers of a range, its ends and whole numbers more often than others."""
    ends = st.sampled_from([least, most])
    return ends | st.integers(1, 9) | st.floats(least, most)


WEIGHTS, SMOOTHS = numbers(1e-6, 1e6), numbers(1e-12, 1e6)
SPECS = st.one_of(
    st.sampled_from(["tversky(alpha=0)", "tversky(beta=0)", "bce(0)+dice+log_dice(0)"]),
    st.builds("bce({!r})".format, WEIGHTS),
    st.builds(
        "dice({!r}, smooth={!r}, positives_only={})".format,
        WEIGHTS,
        SMOOTHS,
        st.sampled_from(["true", "false"]),
    ),
    st.builds("log_dice({!r}, smooth={!r})".format, WEIGHTS, SMOOTHS),
    st.builds(
        "tversky({!r}, alpha={!r}, beta={!r}, smooth={!r})".format,
        *(WEIGHTS, WEIGHTS, WEIGHTS, SMOOTHS),
    ),
    st.builds("focal({!r}, gamma={!r})".format, WEIGHTS, numbers(1.0, 100.0)),
)
# Every combination of an empty, a full and a mixed truth with logits that saturate
# the sigmoid in float32, that do not, and that are both.
_TRUTHS = ([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0])
_LOGITS = ([-200] * 4, [0] * 4, [200] * 4, [-200, 200, 0, 1], [1e-7, -90, 90, -200])
PAIRS = [
    tf.constant(p, tf.float32)
    for p in zip(*((t, x) for t in _TRUTHS for x in _LOGITS), strict=True)
]


@settings(max_examples=150, deadline=None)
@given(SPECS)
def test_what_is_accepted_has_finite_gradients(text):
    loss = losses.parse(text)
    truth, logits = (tf.reshape(p, [-1, 2, 2, 1]) for p in PAIRS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(truth, logits)
    assert np.isfinite(value).all(), text
    assert np.isfinite(tape.gradient(value, logits)).all(), text
