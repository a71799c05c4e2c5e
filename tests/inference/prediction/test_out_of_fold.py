"""Members predict the images that they did not train on, for tuning."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.dataset import manifest
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.phantom import synthetic_folder
from inference.config import TuneConfig
from inference.prediction import predict
from inference.prediction import probability_csv
from inference.prediction import probability_maps
from inference.prediction import thresholds
from inference.prediction.joining import CLASSIFICATION
from inference.tuning import search
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import member
from tests.inference.prediction.test_predict import config
from tests.inference.prediction.test_predict import rows_of


@pytest.fixture
def runs(dataset, tmp_path):
    paths = [tmp_path / f"run{k}" for k in range(3)]
    models = [member(p, dataset / "32", k, fold=k) for k, p in enumerate(paths)]
    return paths, models


def asked(dataset, runs, output, **changes):
    return config(dataset, runs[0], output, split="out_of_fold", **changes)


def test_the_member_of_its_fold_predicts_each_image(dataset, runs, tmp_path):
    predict.predict(asked(dataset, runs, tmp_path / "out", tta=("none",)))
    _, maps = probability_maps.read_folder(tmp_path / "out")
    maps = {m.image_id: m for m in maps}
    folder = dataset / "32"
    data = manifest.read(folder)
    seen = 0
    for shard in data.train_shards([0, 1, 2]):
        for record in map(schema.parse, shards.read(folder / shard.name)):
            image = np.frombuffer(record.pixels, np.uint8).reshape(1, 32, 32, 1)
            model = runs[1][record.fold]
            logits = model(image.astype(np.float32), training=False)["mask"].numpy()
            expected = 1 / (1 + np.exp(-logits[0, :, :, 0]))
            predicted = maps[record.image_id]
            np.testing.assert_allclose(predicted.values, expected, atol=2**-11)
            assert predicted.fold == record.fold
            seen += 1
    assert seen == len(maps) == 30


def test_keeps_finished_parts(dataset, runs, tmp_path, monkeypatch):
    output = tmp_path / "out"
    whole = tmp_path / "whole"
    predict.predict(asked(dataset, runs, whole, batch_size=1))
    write, written = probability_maps.write, []

    def killed(path, maps):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, maps)

    monkeypatch.setattr(probability_maps, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        predict.predict(asked(dataset, runs, output))
    monkeypatch.setattr(probability_maps, "write", write)
    before = {p: p.stat().st_mtime_ns for p in written}
    predict.predict(asked(dataset, runs, output))
    assert before == {p: p.stat().st_mtime_ns for p in written}
    for path in (whole / probability_maps.FOLDER).iterdir():
        other = output / probability_maps.FOLDER / path.name
        assert other.read_bytes() == path.read_bytes()
    with pytest.raises(CommandError, match="tta"):
        predict.predict(asked(dataset, runs, output, tta=("none",)))


def test_refuses_a_member_of_another_split(dataset, runs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(dataset / "32", other)
    stored = durable.read_json(other / "dataset.json", fix="")
    durable.write_json(other / "dataset.json", stored | {"source_fingerprint": "x"})
    with pytest.raises(CommandError, match="another conversion"):
        predict.predict(asked(dataset, runs, tmp_path / "out", data=(other,)))


def test_tuned_thresholds_decide_a_prediction(dataset, source, runs, tmp_path):
    predictions = tmp_path / "out"
    predict.predict(asked(dataset, runs, predictions))
    search.tune(
        TuneConfig(
            predictions=predictions,
            truth=source / synthetic_folder.TRAIN_CSV,
            output=tmp_path / "tuned",
            tops=(0.4, 0.6),
            min_areas=(0.0, 512.0),
            bottoms=(0.3, 0.4),
            gates=(),
            num_workers=1,
        )
    )
    path = tmp_path / "tuned" / search.THRESHOLDS
    cut = config(dataset, runs[0], tmp_path / "by_file", thresholds=path)
    spec = thresholds.read(path).postprocess
    by_hand = config(dataset, runs[0], tmp_path / "by_hand", postprocess=spec)
    assert rows_of(cut) == rows_of(by_hand)
    marker = json.loads((tmp_path / "by_file" / probability_maps.MARKER).read_text())
    assert marker["config"]["postprocess"]
    other = config(dataset, runs[0][:2], tmp_path / "x", thresholds=path)
    with pytest.raises(CommandError, match="tuned with other members"):
        predict.predict(other)


@pytest.mark.slow
def test_a_gate_is_tuned_and_used(dataset, source, runs, tmp_path):
    paths = [tmp_path / f"classifier{k}" for k in range(3)]
    for k, path in enumerate(paths):
        member(path, dataset / "64", 10 + k, fold=k, model=CLASSIFIER)
    both = {"classifiers": tuple(paths), "data": (dataset,)}
    predict.predict(asked(dataset, runs, tmp_path / "out", **both))
    _, maps = probability_maps.read_folder(tmp_path / "out")
    values = {m.image_id: m.classifier for m in maps}
    assert len(values) == 30
    assert values == probability_csv.read(tmp_path / "out" / CLASSIFICATION)
    gate = round(sorted(values.values())[-2], 3)
    search.tune(
        TuneConfig(
            predictions=tmp_path / "out",
            truth=source / synthetic_folder.TRAIN_CSV,
            output=tmp_path / "tuned",
            # Without a gate every pixel would be set, so the search chooses one.
            tops=(0.001,),
            min_areas=(0.0,),
            bottoms=(0.001,),
            gates=(gate,),
            num_workers=1,
        )
    )
    path = tmp_path / "tuned" / search.THRESHOLDS
    assert thresholds.read(path).postprocess.startswith("gate(")
    cut = config(dataset, runs[0], tmp_path / "cut", thresholds=path, **both)
    rows = rows_of(cut)
    classified = probability_csv.read(cut.output / CLASSIFICATION)
    passed = {i for i, value in classified.items() if value >= gate}
    assert {i for i, code in rows.items() if code != rle.EMPTY} == passed
    alone = config(dataset, runs[0], tmp_path / "alone", thresholds=path)
    with pytest.raises(ConfigError, match="no classifier is there"):
        predict.predict(alone)
    other = config(dataset, runs[0], tmp_path / "x", thresholds=path, **both)
    other = dataclasses.replace(other, classifier_tta=("hflip",))
    with pytest.raises(CommandError, match="tuned with other classifier_tta"):
        predict.predict(other)


def test_refuses_a_fold_without_classifiers(dataset, runs, tmp_path):
    member(tmp_path / "classifier", dataset / "32", 10, fold=0, model=CLASSIFIER)
    both = {"classifiers": (tmp_path / "classifier",)}
    with pytest.raises(CommandError, match="fold 1 has no classifiers"):
        predict.predict(asked(dataset, runs, tmp_path / "out", **both))
