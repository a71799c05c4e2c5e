"""A film's score is in units of the limit, whoever runs the networks."""

import numpy as np
import pytest
import tensorflow as tf

from inference.config import Engine
from inference.ensemble import guard
from inference.ensemble import members
from inference.ensemble import networks
from inference.ensemble import placement
from inference.ensemble.guard import Guard
from inference.inputs import datasets
from tests.inference.finished_runs import POOLED
from tests.inference.finished_runs import member
from trainer.guard import features


@pytest.fixture(scope="module")
def placed(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for k in range(2):
        member(folder / str(k), dataset / "32", k, model=POOLED, described=True)
    loader = members.Loader("swa", datasets.find([dataset]), Engine(), compares=True)
    group = loader.load_group([folder / "0", folder / "1"], [])
    return placement.place(group, networks.HOST)


def images(placed, count=3):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 32, 32, 1)).astype(np.uint8)
    return {str(placed.segmenters[0].dataset.folder): pixels}


def test_score_is_the_mean_over_members_in_units_of_the_limit(placed):
    pictures = images(placed)
    found = Guard.of_members(placed, 0.99).scores(pictures).numpy()
    pixels = tf.constant(next(iter(pictures.values())))
    total = 0
    for m in placed.segmenters:
        values = features.of_images(pixels)
        values |= {m.group: m.features(tf.cast(pixels, tf.float32))}
        assert len(values) == 5
        described = m.description
        largest = np.max([described.distances[g].of(v) for g, v in values.items()], 0)
        total = total + largest / described.limit(values, 0.99)
    np.testing.assert_allclose(found, total / 2, rtol=1e-4)
    assert (found > 1).all()


def test_features_come_out_of_the_run_that_predicts(placed):
    pictures = images(placed)
    compared = Guard.of_members(placed, 0.99)
    expected = compared.scores(pictures).numpy()
    compared.clear()
    pixels = tf.cast(next(iter(pictures.values())), tf.float32)
    for m in placed.segmenters:
        # The original is the first of several views, and of several runs.
        m.logits(tf.concat([pixels, 255 - pixels], axis=0))
        m.logits(255 - pixels)
    tapped = compared.tapped(3)
    assert {k: v.shape for k, v in tapped.items()} == {0: (3, 4), 1: (3, 4)}
    for k, m in enumerate(placed.segmenters):
        np.testing.assert_allclose(tapped[k], m.features(pixels), rtol=1e-4, atol=1e-5)
    found = compared.scores(pictures, tapped).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    compared.clear()
    assert compared.tapped(3) == {}


def test_is_a_graph(placed):
    compared, pictures = Guard.of_members(placed, 0.99), images(placed)
    in_graph = tf.function(compared.scores)(
        {k: tf.constant(v) for k, v in pictures.items()}
    )
    np.testing.assert_allclose(in_graph, compared.scores(pictures), rtol=1e-3)


def test_a_higher_quantile_marks_less(placed):
    strict, lenient = (
        Guard.of_members(placed, q).scores(images(placed)).numpy() for q in (0.9, 0.999)
    )
    assert (strict > lenient).all()


def test_no_guard_without_quantile_or_descriptions(placed):
    assert Guard.of_members(placed, 0.0) is None
    assert Guard.of_members(placed.in_float32(), 0.99) is None


def test_kinds_say_what_is_unlike(placed):
    found = Guard.of_members(placed, 0.99).compare(images(placed))
    assert set(found.by_kind) == {*features.SIZES, "encoder"}
    assert isinstance(found, guard.Scores)
