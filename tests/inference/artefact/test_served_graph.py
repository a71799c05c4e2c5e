"""The exported model predicts what the project predicts, for any batch."""

import numpy as np
import pytest

from data_prep.dataset import rle
from inference.artefact import comparison
from inference.artefact import packed_ensemble
from inference.artefact import served_graph
from inference.config import PredictConfig
from inference.masks import image_probability
from inference.prediction import images_csv
from inference.prediction import predict
from inference.prediction import submission


@pytest.mark.slow
def test_masks_are_those_of_inference_main(exported, films, tmp_path):
    config = exported.config
    predict.predict(
        PredictConfig(
            data=(),
            source=films,
            members=config.members,
            classifiers=config.classifiers,
            output=tmp_path / "out",
            postprocess=config.postprocess,
            classifier_tta=config.classifier_tta,
            num_workers=2,
            require_gpu=False,
        )
    )
    rows = submission.read(tmp_path / "out" / "submission.csv")
    facts = images_csv.read(tmp_path / "out" / images_csv.FILE_NAME)
    paths = sorted(films.iterdir())
    assert len(paths) == len(rows) == 100
    empty = 0
    for start in range(0, 100, 16):
        batch = paths[start : start + 16]
        found = exported.serve(p.read_bytes() for p in batch)
        assert set(found["error"]) == {b""}
        for k, path in enumerate(batch):
            height, width = found["height"][k], found["width"][k]
            mask = found["mask"][k, :height, :width]
            guard = facts[path.stem].guard
            assert found["guard"][k] == pytest.approx(guard, rel=1e-3)
            assert found["unlike"][k] == ("unlike" in facts[path.stem].warnings)
            np.testing.assert_array_equal(
                mask, rle.decode(rows[path.stem], height, width), err_msg=path.name
            )
            assert not found["mask"][k, height:].any()
            assert not found["mask"][k, :, width:].any()
            empty += not mask.any()
    # The gate and the areas decide some of them.
    assert 10 <= empty <= 90


def test_any_batch(exported, films):
    data = [p.read_bytes() for p in sorted(films.iterdir())[:3]]
    none, three = exported.serve([]), exported.serve(data)
    for name, values in three.items():
        assert none[name].shape == (0, *[0] * (values.ndim - 1))
        assert len(values) == 3
    for k in range(3):
        alone = exported.serve(data[k : k + 1])
        height, width = alone["height"][0], alone["width"][0]
        assert alone["map"].shape == (1, height, width)
        inside = three["map"][k, :height, :width]
        np.testing.assert_allclose(inside, alone["map"][0], atol=2**-10)
        np.testing.assert_allclose(three["probability"][k], alone["probability"][0])


def test_corrupt_bytes_fail_alone(exported, films):
    good = (films / "film001.png").read_bytes()
    jpeg = (films / "film000.jpg").read_bytes()
    batch = [b"", good[: len(good) // 2], good, jpeg[: len(jpeg) // 3], b"GIF89a", jpeg]
    found, alone = exported.serve(batch), exported.serve([good, jpeg])
    sound = [2, 5]
    assert [not e for e in found["error"]] == [k in sound for k in range(6)]
    for k, error in enumerate(found["error"]):
        if k not in sound:
            assert error.decode().isprintable()
            assert np.isnan(found["probability"][k])
            assert found["height"][k] == found["width"][k] == 0
            assert not found["map"][k].any()
            assert not found["mask"][k].any()
    guard = alone["guard"].tolist()
    assert found["guard"].tolist() == pytest.approx(
        [-1, -1, guard[0], -1, -1, guard[1]]
    )
    assert not found["unlike"][[k for k in range(6) if k not in sound]].any()
    for name in ("probability", "map", "mask", "height"):
        np.testing.assert_allclose(found[name][sound], alone[name], atol=2**-10)


def test_the_signature_of_grey_squares(exported, films):
    data = [p.read_bytes() for p in sorted(films.iterdir())[:2]]
    ensemble = packed_ensemble.load(exported.config)
    squares = comparison.OwnPrediction(ensemble).squares(data)
    names = ensemble.input_names()
    assert list(names.values()) == ["images_32", "images_64"]
    grey = exported.loaded.signatures["grey"]
    found = grey(**{names[key]: values for key, values in squares.items()})
    assert found["map"].shape == (2, 32, 32)
    np.testing.assert_allclose(
        found["probability"], exported.serve(data)["probability"], atol=1e-5
    )
    np.testing.assert_allclose(found["guard"], exported.serve(data)["guard"], rtol=1e-3)


def test_a_probability_is_calibrated_as_elsewhere():
    p = np.array([0.0, 1e-9, 0.02, 0.5, 0.9, 1.0])
    np.testing.assert_allclose(
        served_graph.calibrated(p, 1.7),
        image_probability.calibrated(p, 1.7),
        rtol=1e-12,
    )
