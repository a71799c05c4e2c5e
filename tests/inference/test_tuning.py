import dataclasses
import itertools
import json
import shutil

import cv2
import numpy as np
import pytest
from scipy import ndimage

from data_prep import durable
from data_prep import rle
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from inference import postprocess
from inference import probability_maps
from inference import thresholds
from inference import tuning
from inference import tuning_surface
from inference import tuning_tables
from inference.config import TuneConfig
from inference.probability_maps import ProbabilityMap
from inference.tuning_surface import Grid
from inference.tuning_surface import Rule
from inference.tuning_tables import Tables
from tests import test_commands
from trainer import metrics

SIZE = 32


def a_map(image_id, values, *, height=64, width=64, fold=0, classifier=None):
    return ProbabilityMap(
        image_id=image_id,
        values=np.asarray(values, np.float16),
        source_height=height,
        source_width=width,
        fold=fold,
        classifier=classifier,
    )


def random_case(seed, how, *, classified):
    """Islands and their near-truths in images of many shapes."""
    rng = np.random.default_rng(seed)
    shapes = [(64, 64), (50, 90), (91, 40), (32, 32), (128, 96), (20, 24)]
    maps, truth = [], {}
    for k in range(18):
        height, width = shapes[k % len(shapes)]
        field = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 3)
        field *= rng.choice([0.2, 0.5, 0.9]) / np.abs(field).max()
        # Some values on a coarse lattice, so that ">=" meets equality.
        values = (0.2 + field).clip(0, 1)
        values = values if k % 3 else (values * 8).round() / 8
        maps.append(
            a_map(
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
    tables = tuning_tables.count(
        maps, truth, how=how, thresholds=(*grid.tops, *grid.bottoms), num_workers=2
    )
    folds, sums = tuning_surface.sums(tables, grid)
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
        assert np.array_equal(tuning_surface.dice(tables, rule), expected), rule
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
        rule = tuning_surface.SEED
    tables = tuning_tables.count(
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
    assert tuning_surface.dice(tables, rule).tolist() == expected


def test_specs_parse_back():
    for rule in (
        Rule(gate=0.0, top=0.7, min_area=600.0, bottom=0.3),
        Rule(gate=0.35, top=0.7, min_area=1422.2, bottom=0.1),
    ):
        parsed = postprocess.parse(rule.spec(), gated=bool(rule.gate))
        assert parsed.cut == postprocess.triplet(rule.top, rule.min_area, rule.bottom)
        assert (parsed.gate or 0) == rule.gate
    assert "min_area=600," in Rule(gate=0, top=0.7, min_area=600.0, bottom=0.3).spec()
    assert tuning_surface.PLAIN.spec() == "threshold(0.5)"
    assert postprocess.parse("threshold(0.5)") == postprocess.parse(
        tuning_surface.PLAIN.spec()
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
    folds, sums = tuning_surface.sums(tables, grid)
    # area 3: fold 0 has 0, fold 1 has 1 at 0.25 and 8/9 at 0.5; area 10: 1 and 0.
    expected = [[[0, 0], [2, 2]], [[3, 3 * 8 / 9], [0, 0]]]
    assert np.allclose(sums[:, 0, 0], expected, atol=1e-12)
    assert tuning_surface.best(sums.sum(axis=0)) == (0, 0, 0, 0)
    found = tuning_surface.nested(tables, folds, sums, grid)
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
    folds, sums = tuning_surface.sums(tables, grid)
    found = tuning_surface.nested(tables, folds, sums, grid)
    assert found["dice"] == pytest.approx((1 + 3 * 2 / 3) / 4)
    assert tuning_surface.nested(tables, folds[:1], sums[:1], grid) is None


def test_ties():
    scores = np.zeros((1, 5, 7, 1))
    scores[0, 1:4, 2:5, 0] = 0.5
    assert tuning_surface.best(scores) == (0, 2, 3, 0)
    # Of a ring's points all are equally far: the first one.
    scores[0, 2, 3, 0] = 0
    scores[0, [1, 1, 3, 3], [2, 4, 2, 4], 0] = 0
    assert tuning_surface.best(scores) == (0, 1, 3, 0)
    # What rounding makes better is not better.
    scores[0, 3, 3, 0] += 1e-13
    assert tuning_surface.best(scores) == (0, 1, 3, 0)
    scores[0, 3, 3, 0] += 1e-6
    assert tuning_surface.best(scores) == (0, 3, 3, 0)
    gated = np.concatenate([scores, scores, scores])
    assert tuning_surface.best(gated) == (0, 3, 3, 0)
    gated[2, 0, 0, 0] = 0.6
    assert tuning_surface.best(gated) == (2, 0, 0, 0)
    with_none = np.where(scores == 0, np.nan, scores)
    assert tuning_surface.best(with_none) == (0, 3, 3, 0)


def block(size, *, peak, rim):
    """A lesion of `size` cells a side, certain inside and not at its rim."""
    values = np.zeros((SIZE, SIZE), np.float32)
    values[8 : 8 + size, 8 : 8 + size] = rim
    values[9 : 7 + size, 9 : 7 + size] = peak
    return values


def constructed():
    """Only top 0.7, an area between 4 and 36 cells, bottom 0.3 is right everywhere.

    Lesions are certain (0.8) in 6 x 6 cells and have a rim of 0.4 that is true, with
    stray cells of 0.2 that are not. Noise is certain in 2 x 2 cells, or 0.6 in
    many. At the source's size of 32 x 32 nothing is enlarged.
    """
    maps, truth = [], {}
    for k in range(8):
        values = block(8, peak=0.8, rim=0.4)
        true = values > 0.3
        values[25, :] = 0.2
        if k % 4 == 1:
            values, true = block(4, peak=0.9, rim=0.1), np.zeros_like(true)
        if k % 4 == 3:
            values, true = block(12, peak=0.6, rim=0.6), np.zeros_like(true)
        maps.append(a_map(f"i{k}", values, height=32, width=32, fold=k // 4))
        truth[f"i{k}"] = [rle.encode(true)]
    return maps, truth


def write_case(folder, maps, truth, **config):
    folder.mkdir(exist_ok=True)
    path = folder / "out_of_fold"
    half = len(maps) // 2
    for k, part in enumerate((maps[:half], maps[half:])):
        name = probability_maps.part_name(k)
        probability_maps.write(path / "probabilities" / name, part)
    made = {"members": ["ab" * 32], "tta": ["hflip"], "aspect": "pad"}
    probability_maps.seal(path, made | config)
    lines = [f"{i},{code}\n" for i, codes in truth.items() for code in codes]
    (folder / "truth.csv").write_text("ImageId,EncodedPixels\n" + "".join(lines))
    return TuneConfig(
        predictions=path,
        truth=folder / "truth.csv",
        output=folder / "tuning",
        tops=(0.1, 0.3, 0.5, 0.7, 0.85),
        # One cell of a 32 x 32 image has 1024 pixels at 1024.
        min_areas=(0.0, 1024.0, 10240.0, 40960.0),
        bottoms=(0.1, 0.3, 0.5),
        gates=(0.2, 0.5, 0.8),
        num_workers=2,
    )


def test_the_known_optimum_is_found(tmp_path):
    config = write_case(tmp_path, *constructed())
    text = tuning.tune(config)
    found = json.loads((tmp_path / "tuning/tuning.json").read_text())
    spec = "triplet(top=0.7, min_area=10240, bottom=0.3)"
    assert found["best"]["postprocess"] == spec
    assert found["best"]["dice"] == found["nested"]["dice"] == 1
    # 6 x 6 of 8 x 8 cells: the rim is lost, and noise is kept.
    lesion = 2 * 36 / (36 + 64)
    assert found["compared"]["threshold"]["dice"] == pytest.approx(lesion / 2)
    assert found["compared"]["seed"]["dice_positive"] == pytest.approx(lesion)
    assert found["compared"]["seed"]["dice_empty"] == 0
    assert found["compared"]["all_empty"]["dice"] == 0.5
    assert found["flatness"]["points"] == 4 * (1 + 2 + 3 + 3 + 3)
    assert found["flatness"]["within_0.001"] == pytest.approx(1 / 48)
    curve = found["curves"]["min_area"]
    assert curve["dice"] == [pytest.approx(d) for d in (0.5, 0.75, 1, 0.5)]
    assert found["curves"]["gate"] == {"values": [0.0], "dice": [1.0]}
    assert found["at_the_edge"] == []
    read = thresholds.read(tmp_path / "tuning/thresholds.json")
    assert read.postprocess == spec
    assert read.made_from["members"] == ["ab" * 32]
    picture = cv2.imread(str(tmp_path / "tuning/surface.png"))
    assert picture.std() > 10
    for said in (spec, "best, nested", "Dice 1.0000", "--thresholds=", "seed's rule"):
        assert said in text


def test_the_command(tmp_path):
    config = write_case(tmp_path, *constructed())
    done = test_commands.run(
        "inference.tune",
        f"--predictions={config.predictions}",
        f"--truth={config.truth}",
        f"--output={config.output}",
        "--tops=0.7,0.1,0.5,0.3,0.85",
        "--min_areas=0,1024,10240,40960",
        "--bottoms=0.1,0.3,0.5",
    )
    assert done.returncode == 0, done.stderr
    assert "triplet(top=0.7, min_area=10240, bottom=0.3)" in done.stdout
    assert "8 of 8 images" in done.stderr
    by_flags = (config.output / "tuning.json").read_bytes()
    tuning.tune(config)
    assert (config.output / "tuning.json").read_bytes() == by_flags


def test_a_gate_is_found_where_it_helps(tmp_path):
    maps, truth = constructed()
    # Noise that looks like a lesion; the classifier knows better.
    lesion = maps[0].values
    sure = {0: 0.9, 1: 0.6, 2: 0.9, 3: 0.6}
    maps = [
        a_map(
            m.image_id, lesion, height=32, width=32, fold=m.fold, classifier=sure[k % 4]
        )
        for k, m in enumerate(maps)
    ]
    config = write_case(tmp_path, maps, truth)
    tuning.tune(config)
    found = json.loads((tmp_path / "tuning/tuning.json").read_text())
    assert found["best"]["postprocess"].startswith("gate(0.8)|")
    assert found["best"]["dice"] == 1
    read = thresholds.read(tmp_path / "tuning/thresholds.json")
    clean = postprocess.parse(read.postprocess, gated=True)
    assert clean(maps[0].values, 32, 32, "pad", 0.9).any()
    assert not clean(maps[0].values, 32, 32, "pad", 0.6).any()


def test_the_edge_is_said(tmp_path):
    config = write_case(tmp_path, *constructed())

    narrow = dataclasses.replace(config, tops=(0.5, 0.7))
    assert "the best top is at the grid's edge: widen --tops" in tuning.tune(narrow)


def test_another_grid_needs_no_second_pass(tmp_path, monkeypatch):

    config = write_case(tmp_path, *constructed())
    tuning.tune(config)
    first = (tmp_path / "tuning/tuning.json").read_bytes()

    def refuse(*_, **__):
        raise AssertionError("a second pass")

    with monkeypatch.context() as patched:
        patched.setattr(tuning_tables, "count", refuse)
        tuning.tune(config)
        assert (tmp_path / "tuning/tuning.json").read_bytes() == first
        tuning.tune(dataclasses.replace(config, tops=(0.3,), min_areas=(77,)))
        with pytest.raises(AssertionError, match="a second pass"):
            tuning.tune(dataclasses.replace(config, tops=(0.31,)))
    tuning.tune(dataclasses.replace(config, tops=(0.31,)))


def test_the_number_of_workers_does_not_matter():
    maps, truth = random_case(8, "pad", classified=True)
    made = [
        tuning_tables.count(
            maps, truth, how="pad", thresholds=(0.3, 0.6), num_workers=n
        )
        for n in (1, 3)
    ]
    for name in ("ids", "area", "overlap", "truth_area", "classifier"):
        assert np.array_equal(getattr(made[0], name), getattr(made[1], name))


def test_another_prediction_in_the_same_output_is_refused(tmp_path):
    config = write_case(tmp_path, *constructed())
    tuning.tune(config)
    (tmp_path / "truth.csv").write_text((tmp_path / "truth.csv").read_text() + "x,-1\n")
    with pytest.raises(Failure, match="truth_sha256.*choose another --output") as e:
        tuning.tune(config)
    assert e.value.exit_code == ExitCode.CONFLICT


def test_damaged_tables_are_refused(tmp_path):
    config = write_case(tmp_path, *constructed())
    tuning.tune(config)
    path = tmp_path / "tuning/tables.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Failure, match=r"tables\.npz does not match"):
        tuning.tune(config)


def test_an_image_without_truth_is_refused(tmp_path):
    maps, truth = constructed()
    del truth["i5"]
    with pytest.raises(Failure, match="no row for image i5; give the --truth"):
        tuning.tune(write_case(tmp_path, maps, truth))
    assert not (tmp_path / "tuning/thresholds.json").exists()


def test_a_truth_that_does_not_fit_is_refused(tmp_path):
    maps, truth = constructed()
    truth["i5"] = ["1000 100"]
    with pytest.raises(Failure, match="RLE_OVERFLOW for image i5"):
        tuning.tune(write_case(tmp_path, maps, truth))


@pytest.mark.parametrize(
    ("at", "said"), [(3, "holds a damaged record"), (100, "does not match")]
)
def test_a_damaged_map_is_refused(tmp_path, at, said):
    config = write_case(tmp_path, *constructed())
    path = config.predictions / "probabilities" / probability_maps.part_name(1)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(Failure, match=f"part-00001.*{said}.*predict again"):
        tuning.tune(config)


def test_some_maps_with_a_classifier_are_refused(tmp_path):
    maps, truth = constructed()
    maps[2] = a_map("i2", maps[2].values, height=32, width=32, classifier=0.5)
    with pytest.raises(Failure, match="7 of 8 probability maps, first i0, lack"):
        tuning.tune(write_case(tmp_path, maps, truth))


def test_a_prediction_without_aspect_or_images_is_refused(tmp_path):
    config = write_case(tmp_path / "a", *constructed(), aspect="round")
    with pytest.raises(Failure, match="does not say how its squares were made"):
        tuning.tune(config)
    config = write_case(tmp_path / "b", *constructed())
    shutil.rmtree(config.predictions / "probabilities")
    probability_maps.seal(config.predictions, {"aspect": "pad"})
    with pytest.raises(Failure, match="the prediction has no image"):
        tuning.tune(config)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({}, "holds no thresholds"),
        ({"postprocess": 3, "made_from": {}}, "holds no thresholds"),
        ({"postprocess": "seed", "made_from": []}, "holds no thresholds"),
        ({"postprocess": "triplet(0.3)", "made_from": {}}, "do not fit"),
        ({"postprocess": "blur(3)", "made_from": {}}, "blur"),
    ],
)
def test_malformed_thresholds_are_refused(tmp_path, stored, said):

    path = tmp_path / "thresholds.json"
    durable.write_json(path, stored)
    with pytest.raises(Failure, match=f"thresholds.json.*{said}"):
        thresholds.read(path)


def test_missing_and_edited_thresholds_are_refused(tmp_path):
    path = tmp_path / "thresholds.json"
    with pytest.raises(Failure, match=r"no thresholds\.json.*inference\.tune"):
        thresholds.read(path)
    found = thresholds.Thresholds(postprocess="seed", made_from={})
    thresholds.write(path, found, score=0.5, nested_score=None, images=3)
    assert thresholds.read(path) == found
    path.write_text(path.read_text().replace("seed", "winners"))
    with pytest.raises(Failure, match="its own sha256"):
        thresholds.read(path)
