"""Every rule on the surface scores what it does when it is applied."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from data_prep.dataset import rle
from inference.masks import postprocess
from inference.tuning import grid_search
from inference.tuning import pixel_counts
from inference.tuning.grid_search import Grid
from inference.tuning.grid_search import Rule
from inference.tuning.pixel_counts import Tables
from tests.inference.tuning import tuning_cases
from trainer.validation import metrics


def random_case(seed, how, *, classified):
    """Islands and their near-truths in images of many shapes."""
    rng = np.random.default_rng(seed)
    shapes = [(64, 64), (50, 90), (91, 40), (32, 32), (128, 96), (20, 24)]
    maps, truth = [], {}
    for k in range(18):
        height, width = shapes[k % len(shapes)]
        field = ndimage.gaussian_filter(
            rng.standard_normal((tuning_cases.SIZE, tuning_cases.SIZE)), 3
        )
        field *= rng.choice([0.2, 0.5, 0.9]) / np.abs(field).max()
        # Some values on a coarse lattice, so that ">=" meets equality.
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


def brute_force(maps, truth, how, rule):
    """Each image's Dice by the code that predicts."""
    clean = postprocess.parse(rule.spec(), gated=True)
    found = []
    for of in maps:
        size = of.source_height, of.source_width
        mask = clean(of.values, *size, how, of.classifier)
        true = rle.decode_union(truth[of.image_id], *size)
        found.append(metrics.dice_of_masks(true, mask))
    return np.array(found)


@pytest.mark.parametrize("how", ["pad", "stretch"])
@pytest.mark.parametrize("classified", [False, True])
def test_the_surface_equals_brute_force(how, classified):
    maps, truth = random_case(5, how, classified=classified)
    grid = Grid(
        gates=(0.0, 0.3, 0.7) if classified else (0.0,),
        tops=(0.25, 0.5, 0.6),
        min_areas=(0, 1, 20000, 60000.5, 200000),
        bottoms=(0.125, 0.25, 0.5),
    )
    tables = pixel_counts.count(
        maps, truth, how=how, thresholds=(*grid.tops, *grid.bottoms), num_workers=2
    )
    folds, sums = grid_search.sums(tables, grid)
    assert folds.tolist() == [0, 1, 2]
    assert sums.shape == (3, *map(len, grid.axes))
    different = set()
    for index in itertools.product(*(range(len(a)) for a in grid.axes)):
        rule = grid.rule(index)
        by_fold = sums[(slice(None), *index)]
        if rule.bottom > rule.top:
            assert np.isnan(by_fold).all()
            continue
        expected = brute_force(maps, truth, how, rule)
        assert np.array_equal(grid_search.dice(tables, rule), expected), rule
        for fold in folds:
            of_fold = expected[[m.fold == fold for m in maps]].sum()
            assert by_fold[fold] == pytest.approx(of_fold, abs=1e-12), rule
        different.add(round(expected.mean(), 9))
    # The comparison says something: rules differ.
    assert len(different) > 10


@pytest.mark.parametrize("name", ["seed", "winners", "winners_public", "seventh_place"])
def test_rules_are_the_presets(name):
    maps, truth = random_case(6, "pad", classified=False)
    cut = postprocess.parse(name).cut
    rule = Rule(gate=0, top=cut.top, min_area=cut.min_area, bottom=cut.bottom)
    if name == "seed":
        rule = grid_search.SEED
    tables = pixel_counts.count(
        maps,
        truth,
        how="pad",
        thresholds=(rule.top, rule.bottom),
        num_workers=1,
    )
    clean = postprocess.parse(name)
    expected = [
        metrics.dice_of_masks(
            rle.decode_union(truth[m.image_id], m.source_height, m.source_width),
            clean(m.values, m.source_height, m.source_width, "pad"),
        )
        for m in maps
    ]
    assert grid_search.dice(tables, rule).tolist() == expected


def test_specs_parse_back():
    for rule in (
        Rule(gate=0.0, top=0.7, min_area=600.0, bottom=0.3),
        Rule(gate=0.35, top=0.7, min_area=1422.2, bottom=0.1),
    ):
        parsed = postprocess.parse(rule.spec(), gated=bool(rule.gate))
        assert parsed.cut == postprocess.triplet(rule.top, rule.min_area, rule.bottom)
        assert (parsed.gate or 0) == rule.gate
    assert "min_area=600," in Rule(gate=0, top=0.7, min_area=600.0, bottom=0.3).spec()
    assert grid_search.PLAIN.spec() == "threshold(0.5)"
    assert postprocess.parse("threshold(0.5)") == postprocess.parse(
        grid_search.PLAIN.spec()
    )


def rows(*, area, overlap, truth_area, fold=None, thresholds=(0.25, 0.5, 0.75)):
    """Tables of 1024 x 1024 images, made by hand."""
    number = len(truth_area)
    return Tables(
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
    """Fold 0's images want a large area, fold 1's a small one, both lose so."""
    tables = rows(
        # Fold 0: noise on an empty image, twice. Fold 1: small lesions, found.
        area=[[9, 9, 9], [9, 9, 9], [5, 4, 4], [5, 4, 4], [5, 4, 4]],
        overlap=[[0, 0, 0], [0, 0, 0], [5, 4, 4], [5, 4, 4], [5, 4, 4]],
        truth_area=[0, 0, 5, 5, 5],
        fold=[0, 0, 1, 1, 1],
    )
    grid = Grid(gates=(0.0,), tops=(0.5,), min_areas=(3, 10), bottoms=(0.25, 0.5))
    folds, sums = grid_search.sums(tables, grid)
    # area 3: fold 0 has 0, fold 1 has 1 at 0.25 and 8/9 at 0.5; area 10: 1 and 0.
    expected = [[[0, 0], [2, 2]], [[3, 3 * 8 / 9], [0, 0]]]
    assert np.allclose(sums[:, 0, 0], expected, atol=1e-12)
    assert grid_search.best(sums.sum(axis=0)) == (0, 0, 0, 0)
    found = grid_search.nested(tables, folds, sums, grid)
    # Each fold is cut as the other one asks for: nothing is right.
    assert found["dice"] == 0
    chosen = [row["postprocess"] for row in found["folds"]]
    assert chosen[0] == "triplet(top=0.5, min_area=3, bottom=0.25)"
    assert "min_area=10" in chosen[1]
    assert [row["images"] for row in found["folds"]] == [2, 3]
    assert [row["best_of_its_own"] for row in found["folds"]] == [1, 1]


def test_nested_score_weighs_images():
    tables = rows(
        area=[[4], [8], [8], [8]],
        overlap=[[4], [4], [4], [4]],
        truth_area=[4, 4, 4, 4],
        fold=[0, 1, 1, 1],
        thresholds=(0.5,),
    )
    grid = Grid(gates=(0.0,), tops=(0.5,), min_areas=(1,), bottoms=(0.5,))
    folds, sums = grid_search.sums(tables, grid)
    found = grid_search.nested(tables, folds, sums, grid)
    assert found["dice"] == pytest.approx((1 + 3 * 2 / 3) / 4)
    assert grid_search.nested(tables, folds[:1], sums[:1], grid) is None


def test_ties():
    scores = np.zeros((1, 5, 7, 1))
    scores[0, 1:4, 2:5, 0] = 0.5
    assert grid_search.best(scores) == (0, 2, 3, 0)
    # Of a ring's points all are equally far: the first one.
    scores[0, 2, 3, 0] = 0
    scores[0, [1, 1, 3, 3], [2, 4, 2, 4], 0] = 0
    assert grid_search.best(scores) == (0, 1, 3, 0)
    # What rounding makes better is not better.
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
    maps, truth = random_case(8, "pad", classified=True)
    made = [
        pixel_counts.count(maps, truth, how="pad", thresholds=(0.3, 0.6), num_workers=n)
        for n in (1, 3)
    ]
    for name in ("ids", "area", "overlap", "truth_area", "classifier"):
        assert np.array_equal(getattr(made[0], name), getattr(made[1], name))
