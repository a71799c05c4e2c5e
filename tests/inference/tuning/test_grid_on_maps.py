"""Each rule's score on the grid equals its score when prediction applies it."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import ndimage

from data_prep.dataset import rle
from inference.masks import postprocess
from inference.tuning import counting
from tests.inference.tuning import tuning_cases
from trainer.validation import grid_search
from trainer.validation import metrics
from trainer.validation import rules
from trainer.validation.pixel_counts import PixelCounts
from trainer.validation.rules import Grid
from trainer.validation.rules import Rule


def random_case(seed, *, classified):
    """Returns maps of blobs and similar truths, for images of many shapes."""
    rng = np.random.default_rng(seed)
    shapes = [(64, 64), (50, 90), (91, 40), (32, 32), (128, 96), (20, 24)]
    maps, truth = [], {}
    for k in range(18):
        height, width = shapes[k % len(shapes)]
        field = ndimage.gaussian_filter(
            rng.standard_normal((tuning_cases.SIZE, tuning_cases.SIZE)), 3
        )
        field *= rng.choice([0.2, 0.5, 0.9]) / np.abs(field).max()
        # Every third map has multiples of 1/8, so values equal thresholds.
        values = (0.2 + field).clip(0, 1)
        values = values if k % 3 else (values * 8).round() / 8
        maps.append(
            tuning_cases.a_map(
                f"i{k}",
                values,
                height=height,
                width=width,
                fold=k % 3,
                classifier=rng.integers(0, 11) / 10 if classified else None,
            )
        )
        true = ndimage.gaussian_filter(rng.standard_normal((height, width)), 5)
        halves = [true.copy(), true.copy()]
        halves[0][:, width // 2 :] = halves[1][:, : width // 2] = -1
        rows = [rle.encode(h > 0.04) for h in halves] if k % 4 else ["-1"]
        truth[f"i{k}"] = [r for r in rows if r != "-1"] or ["-1"]
    return maps, truth


def brute_force(maps, truth, aspect, rule):
    """Returns each image's Dice by the code of prediction."""
    steps = postprocess.parse(rule.spec(), gated=True)
    scores = []
    for m in maps:
        size = m.source_height, m.source_width
        code = steps.rle(m.values, *size, aspect, m.classifier)
        true = rle.decode_union(truth[m.image_id], *size)
        scores.append(metrics.dice_of_masks(true, rle.decode(code, *size)))
    return np.array(scores)


@pytest.mark.slow
@pytest.mark.parametrize("aspect", ["pad", "stretch"])
@pytest.mark.parametrize("classified", [False, True])
def test_the_surface_equals_brute_force(aspect, classified):
    maps, truth = random_case(5, classified=classified)
    grid = Grid(
        gates=(0.0, 0.3, 0.7) if classified else (0.0,),
        tops=(0.25, 0.5, 0.6),
        min_areas=(0, 1, 20000, 60000.5, 200000),
        bottoms=(0.125, 0.25, 0.5),
    )
    counts = counting.count(
        maps,
        truth,
        aspect=aspect,
        thresholds=(*grid.tops, *grid.bottoms),
        num_workers=2,
    )
    folds, sums = grid_search.sums(counts, grid)
    assert folds.tolist() == [0, 1, 2]
    assert sums.shape == (3, *map(len, grid.axes))
    different = set()
    for index in itertools.product(*(range(len(a)) for a in grid.axes)):
        rule = grid.rule(index)
        by_fold = sums[(slice(None), *index)]
        if rule.bottom > rule.top:
            assert np.isnan(by_fold).all()
            continue
        expected = brute_force(maps, truth, aspect, rule)
        assert np.array_equal(grid_search.dice(counts, rule), expected), rule
        for fold in folds:
            fold_sum = expected[[m.fold == fold for m in maps]].sum()
            assert by_fold[fold] == pytest.approx(fold_sum, abs=1e-12), rule
        different.add(round(expected.mean(), 9))
    # The rules differ, so the comparison is not vacuous.
    assert len(different) > 10


@pytest.mark.parametrize("name", ["seed", "winners", "winners_public", "seventh_place"])
def test_rules_are_the_presets(name):
    maps, truth = random_case(6, classified=False)
    triplet = dataclasses.asdict(postprocess.parse(name).triplet)
    rule = Rule(gate=0, **triplet)
    if name == "seed":
        rule = rules.SEED
    counts = counting.count(
        maps,
        truth,
        aspect="pad",
        thresholds=(rule.top, rule.bottom),
        num_workers=1,
    )
    steps = postprocess.parse(name)
    expected = []
    for m in maps:
        size = m.source_height, m.source_width
        mask = rle.decode(steps.rle(m.values, *size, "pad"), *size)
        true = rle.decode_union(truth[m.image_id], *size)
        expected.append(metrics.dice_of_masks(true, mask))
    assert grid_search.dice(counts, rule).tolist() == expected


def test_specs_parse_back():
    for rule in (
        Rule(gate=0.0, top=0.7, min_area=600.0, bottom=0.3),
        Rule(gate=0.35, top=0.7, min_area=1422.2, bottom=0.1),
    ):
        parsed = postprocess.parse(rule.spec(), gated=bool(rule.gate))
        assert parsed.triplet == postprocess.triplet(
            rule.top, rule.min_area, rule.bottom
        )
        assert (parsed.gate or 0) == rule.gate
    assert "min_area=600," in Rule(gate=0, top=0.7, min_area=600.0, bottom=0.3).spec()
    assert rules.PLAIN.spec() == "threshold(0.5)"
    assert postprocess.parse("threshold(0.5)") == postprocess.parse(rules.PLAIN.spec())


def rows(*, area, overlap, truth_area, fold=None, thresholds=(0.25, 0.5, 0.75)):
    """Returns counts of 1024 x 1024 images."""
    number = len(truth_area)
    return PixelCounts(
        thresholds=np.array(thresholds),
        ids=np.array([f"i{k}" for k in range(number)]),
        fold=np.array(fold or [0] * number),
        height=np.full(number, 1024),
        width=np.full(number, 1024),
        classifier=np.full(number, np.nan),
        truth_area=np.array(truth_area),
        area=np.array(area),
        overlap=np.array(overlap),
    )


def test_nested_score_by_hand():
    """Fold 0 needs a large area and fold 1 a small one, so each one's rule fails."""
    counts = rows(
        # Fold 0 has noise on empty images, fold 1 small lesions.
        area=[[9, 9, 9], [9, 9, 9], [5, 4, 4], [5, 4, 4], [5, 4, 4]],
        overlap=[[0, 0, 0], [0, 0, 0], [5, 4, 4], [5, 4, 4], [5, 4, 4]],
        truth_area=[0, 0, 5, 5, 5],
        fold=[0, 0, 1, 1, 1],
    )
    grid = Grid(gates=(0.0,), tops=(0.5,), min_areas=(3, 10), bottoms=(0.25, 0.5))
    folds, sums = grid_search.sums(counts, grid)
    # area 3: fold 0 has 0, fold 1 has 1 at 0.25 and 8/9 at 0.5; area 10: 1 and 0.
    expected = [[[0, 0], [2, 2]], [[3, 3 * 8 / 9], [0, 0]]]
    assert np.allclose(sums[:, 0, 0], expected, atol=1e-12)
    assert grid_search.best(sums.sum(axis=0)) == (0, 0, 0, 0)
    nested = grid_search.nested(counts, folds, sums, grid)
    # Each fold gets the rule of the other, so every mask is wrong.
    assert nested["dice"] == 0
    chosen = [row["postprocess"] for row in nested["folds"]]
    assert chosen[0] == "triplet(top=0.5, min_area=3, bottom=0.25)"
    assert "min_area=10" in chosen[1]
    assert [row["images"] for row in nested["folds"]] == [2, 3]
    assert [row["best_of_its_own"] for row in nested["folds"]] == [1, 1]


def test_nested_score_weighs_images():
    counts = rows(
        area=[[4], [8], [8], [8]],
        overlap=[[4], [4], [4], [4]],
        truth_area=[4, 4, 4, 4],
        fold=[0, 1, 1, 1],
        thresholds=(0.5,),
    )
    grid = Grid(gates=(0.0,), tops=(0.5,), min_areas=(1,), bottoms=(0.5,))
    folds, sums = grid_search.sums(counts, grid)
    nested = grid_search.nested(counts, folds, sums, grid)
    assert nested["dice"] == pytest.approx((1 + 3 * 2 / 3) / 4)
    assert grid_search.nested(counts, folds[:1], sums[:1], grid) is None


def test_ties():
    scores = np.zeros((1, 5, 7, 1))
    scores[0, 1:4, 2:5, 0] = 0.5
    assert grid_search.best(scores) == (0, 2, 3, 0)
    # The points of a ring are equally far, so the first one wins.
    scores[0, 2, 3, 0] = 0
    scores[0, [1, 1, 3, 3], [2, 4, 2, 4], 0] = 0
    assert grid_search.best(scores) == (0, 1, 3, 0)
    # A difference within rounding does not count.
    scores[0, 3, 3, 0] += 1e-13
    assert grid_search.best(scores) == (0, 1, 3, 0)
    scores[0, 3, 3, 0] += 1e-6
    assert grid_search.best(scores) == (0, 3, 3, 0)
    gated = np.concatenate([scores, scores, scores])
    assert grid_search.best(gated) == (0, 3, 3, 0)
    gated[2, 0, 0, 0] = 0.6
    assert grid_search.best(gated) == (2, 0, 0, 0)
    with_none = np.where(scores == 0, np.nan, scores)
    assert grid_search.best(with_none) == (0, 3, 3, 0)


def test_the_number_of_workers_does_not_matter():
    maps, truth = random_case(8, classified=True)
    made = [
        counting.count(maps, truth, aspect="pad", thresholds=(0.3, 0.6), num_workers=n)
        for n in (1, 3)
    ]
    for name in ("ids", "area", "overlap", "truth_area", "classifier"):
        assert np.array_equal(getattr(made[0], name), getattr(made[1], name))
