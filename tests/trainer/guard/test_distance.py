import numpy as np
import pytest
import sklearn.covariance
import tensorflow as tf

from trainer.guard import distance
from trainer.guard import tail


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize(("count", "size"), [(40, 7), (12, 30)])
def test_shrinks_as_scikit_learn(rng, count, size):
    x = rng.normal(size=(count, size)) * np.linspace(0.1, 3, size)
    x -= x.mean(axis=0)
    expected = sklearn.covariance.ledoit_wolf_shrinkage(x, assume_centered=True)
    assert distance.shrinkage(x) == pytest.approx(expected, rel=1e-9)


def test_is_mahalanobis_distance(rng):
    mixed = rng.normal(size=(6, 6))
    trained, held_out = (rng.normal(size=(n, 6)) @ mixed for n in (200, 60))
    fitted = distance.fit(trained, held_out, floor=0.0)
    x = (held_out - trained.mean(axis=0)) / trained.std(axis=0)
    covariance, _ = sklearn.covariance.ledoit_wolf(
        (trained - trained.mean(axis=0)) / trained.std(axis=0)
    )
    squared = np.einsum("bi,ij,bj->b", x, np.linalg.inv(covariance), x)
    found = fitted.of(tf.constant(held_out, tf.float32)).numpy()
    expected = (np.sqrt(squared / 6) - fitted.centre) / fitted.width
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert np.median(found) == pytest.approx(0, abs=1e-3)


def test_more_features_than_films_and_features_that_never_vary(rng):
    trained = rng.normal(size=(20, 100))
    trained[:, :5] = 1
    fitted = distance.fit(trained, rng.normal(size=(9, 100)), floor=0.02)
    like, unlike = np.ones((1, 100)), np.ones((1, 100))
    unlike[:, 0] += 10
    scores = [fitted.of(tf.constant(x, tf.float32))[0] for x in (like, unlike)]
    assert np.isfinite(scores).all()
    assert scores[1] > scores[0]


def test_of_arrays_refuses_what_is_no_distance(rng):
    arrays = distance.fit(*rng.normal(size=(2, 20, 4)), floor=0.02).arrays()
    distance.Distance.of_arrays(arrays)
    for name, value in (
        ("scale", arrays["scale"][:3]),
        ("variances", arrays["variances"] * 0),
        ("rest", np.float32(-1)),
        ("basis", arrays["basis"][0]),
    ):
        with pytest.raises(ValueError, match=name):
            distance.Distance.of_arrays(arrays | {name: value})


def test_limit_is_a_quantile_within_the_sample(rng):
    scores = rng.exponential(size=5000)
    assert tail.limit(scores, 0.5) == pytest.approx(np.log(2), rel=0.05)
    assert np.mean(rng.exponential(size=20000) > tail.limit(scores, 0.999)) < 0.001


@pytest.mark.parametrize("count", [10, 20, 100, 1000])
def test_few_films_give_a_cautious_limit(rng, count):
    """False marks at 0.999 stay below 0.5 % in the mean over many small samples."""
    marked = []
    for _ in range(200):
        sample, others = (np.abs(rng.normal(size=n)) for n in (count, 2000))
        marked.append(np.mean(others > tail.limit(sample, 0.999)))
    assert np.mean(marked) < 0.005


def test_limit_of_hardly_any_films():
    assert tail.limit(np.array([0.3]), 0.999) >= 5
    assert tail.limit(np.zeros(50), 0.999) > 0
