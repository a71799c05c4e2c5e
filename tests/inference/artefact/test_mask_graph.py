"""The graph's mask of a film equals what the predictions' csv has, bit for bit."""

import functools

import cv2
import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from data_prep.dataset import aspect as aspects
from data_prep.dataset import rle
from inference.artefact import graph_runs
from inference.artefact import mask_graph
from inference.masks import mask_runs
from inference.masks import postprocess

SIDE = 32
# The arithmetic is that of OpenCV 5 with IPP. With IPP, OpenCV 4 differs in the last
# bit; without, places have other roundings, too.
_EXACT = 0.0 if cv2.__version__ >= "5" else 2.0**-23
TOLERANCE = _EXACT if cv2.ipp.useIPP() else 2.0**-14


@functools.cache
def in_graph(spec, aspect, side=SIDE):
    steps = postprocess.parse(spec, gated=True)
    signature = [
        tf.TensorSpec([side, side], tf.float16),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.float64),
    ]

    @tf.function(input_signature=signature)
    def run(values, height, width, probability):
        return mask_graph.mask(
            values,
            height,
            width,
            aspect=aspect,
            postprocess=steps,
            probability=probability,
        )

    return run, steps


def check(values, height, width, spec, aspect="stretch", probability=1.0):
    """Compares map and mask; returns the mask."""
    run, steps = in_graph(spec, aspect, len(values))
    enlarged, mask = run(values, height, width, probability)
    expected = aspects.from_square(values.astype(np.float32), height, width, aspect)
    np.testing.assert_allclose(enlarged.numpy(), expected, rtol=0, atol=TOLERANCE)
    text = steps.rle(values, height, width, aspect, probability)
    np.testing.assert_array_equal(mask.numpy(), rle.decode(text, height, width))
    assert mask.dtype == tf.uint8
    return mask.numpy()


def blobs(seed, side=SIDE, sigma=2.0):
    """Returns a map with several areas of high probability and holes."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return (1 / (1 + np.exp(-4 * smooth / smooth.std()))).astype(np.float16)


SPECS = [
    "threshold(0.5)",
    "seed",
    "winners",
    "winners_v2",
    "second_place",
    "fifth_place",
    "threshold(0.75)|min_area(9000, per=component)|fill_holes|min_area(60000)",
    "threshold(0.6)|fill_holes|fill_holes|min_area(20000, per=component)",
]


@pytest.mark.parametrize("spec", SPECS)
def test_masks_equal_the_csvs(spec):
    # Tracing takes nearly all of the time; the aspect has nothing to do with the steps.
    aspect = aspects.ASPECTS[SPECS.index(spec) % 2]
    counts = []
    for k, size in enumerate([(64, 64), (97, 130), (131, 64), (20, 25), (32, 32)]):
        counts.append(check(blobs(k), *size, spec, aspect).sum())
    assert sum(counts)


@pytest.mark.parametrize("aspect", ["stretch", "pad"])
def test_maps_of_every_ratio(aspect):
    noise = np.random.default_rng(0).random((64, 64)).astype(np.float16)
    for size in [(1024, 1024), (700, 1021), (333, 128), (64, 65), (30, 21), (1, 1)]:
        check(noise, *size, "threshold(0.75)", aspect)


def test_a_plateau_at_the_threshold_is_in_the_mask():
    values = np.full((SIDE, SIDE), 0.75, np.float16)
    for size in ((61, 47), (64, 64)):
        assert check(values, *size, "threshold(0.75)").all()
    assert not check(values, 61, 47, "triplet(0.76, 1, 0.5)").any()
    assert check(values, 64, 64, "triplet(0.75, 1048576, 0.5)").all()
    assert check(values, 64, 64, "threshold(0.5)|min_area(1048576)").all()
    assert not check(values, 64, 64, "threshold(0.5)|min_area(1048577)").any()


def test_the_gate():
    for probability in (0.0, 0.649999, 0.65, 1.0):
        mask = check(
            blobs(1), 64, 64, "gate(0.65)|threshold(0.4)", probability=probability
        )
        assert mask.any() == (probability >= 0.65)
    assert not check(blobs(1) * np.float16(0), 64, 64, "winners_v2").any()


@functools.cache
def runs_in_graph():
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.bool)])
    def run(mask):
        runs = graph_runs.from_mask(mask)
        large = runs.select(runs.component_areas() > 3)
        return runs.without_holes().mask(), large.mask(), runs.component_areas()

    return run


def check_runs(mask):
    filled, large, areas = runs_in_graph()(mask)
    # Its runs go along the rows of this one.
    expected = mask_runs.from_mask(mask.T)
    labels = expected.components()
    of_runs = np.bincount(labels, expected.ends - expected.starts)[labels]
    np.testing.assert_array_equal(areas.numpy(), of_runs)
    for graph, runs in (
        (filled, expected.without_holes()),
        (large, expected.select(of_runs > 3)),
    ):
        decoded = rle.decode(runs.rle(), *mask.T.shape)
        np.testing.assert_array_equal(graph.numpy(), decoded.T)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(
    strategies.integers(1, 9), strategies.integers(1, 9), strategies.randoms()
)
def test_runs_of_arbitrary_masks(height, width, random):
    bits = [random.random() < 0.55 for _ in range(height * width)]
    mask = np.array(bits).reshape(height, width)
    if mask.any():
        check_runs(mask)


def spiral(side):
    mask = np.zeros((side, side), bool)
    row, column, step = 0, 0, (0, 1)
    mask[0, 0] = True
    for length in [side - 1, *np.repeat(np.arange(side - 1, 1, -2), 2)]:
        for _ in range(length):
            row, column = row + step[0], column + step[1]
            mask[row, column] = True
        step = step[1], -step[0]
    return mask


def test_long_ways_end():
    for mask in (spiral(81), spiral(81).T, ~spiral(81), np.eye(90, dtype=bool)):
        check_runs(mask)
    comb = np.zeros((120, 121), bool)
    comb[:, ::2] = comb[-1] = True
    check_runs(comb)
    check_runs(comb[::-1])
    check_runs(np.indices((60, 61)).sum(0) % 2 == 0)
