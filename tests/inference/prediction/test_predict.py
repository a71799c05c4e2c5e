import dataclasses
import importlib.util
import shutil

import cv2
import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from inference.config import Engine
from inference.config import PredictConfig
from inference.ensemble import mean_probability
from inference.inputs import chunks
from inference.prediction import predict
from inference.prediction import submission
from inference.prediction.joining import SUBMISSION
from tests.inference.finished_runs import member


@pytest.fixture
def runs(dataset, tmp_path):
    paths = [tmp_path / "run0", tmp_path / "run1"]
    models = [member(p, dataset / "32", k) for k, p in enumerate(paths)]
    return paths, models


def config(dataset, members, output, **changes):
    fields = {
        "data": (dataset / "32",),
        "source": None,
        "members": tuple(members),
        "classifiers": (),
        "weights": "swa",
        "output": output,
        "tta": ("hflip",),
        "classifier_tta": ("none",),
        "classifier_random_views": 0,
        "split": "test",
        "thresholds": None,
        "postprocess": "threshold(0.5)",
        "outputs": ("csv",),
        "engine": Engine(name="tensorflow", precision="f32"),
        "batch_size": 4,
        "num_workers": 2,
        "require_gpu": False,
    }
    return PredictConfig(**(fields | changes))


def rows_of(config):
    predict.predict(config)
    return submission.read(config.output / SUBMISSION)


@pytest.mark.slow
def test_equals_a_loop_over_members_and_views(dataset, runs, tmp_path):
    paths, models = runs
    rows = rows_of(config(dataset, paths, tmp_path / "out"))
    folder = dataset / "32"
    seen = []
    for shard in manifest.read(folder).test_shards():
        for serialized in shards.read(folder / shard.name):
            record = schema.parse(serialized)
            image = np.frombuffer(record.pixels, np.uint8).reshape(1, 32, 32, 1)
            image = image.astype(np.float32)
            total = 0
            for model in models:
                logits = model(image, training=False)["mask"].numpy()
                flipped = model(image[:, :, ::-1], training=False)["mask"].numpy()
                for z in (logits, flipped[:, :, ::-1]):
                    total = total + 1 / (1 + np.exp(-z))
            mean = (total / 4)[0, ..., 0]
            large = cv2.resize(mean, (128, 128), interpolation=cv2.INTER_LINEAR)
            mask = rle.decode(rows[record.image_id], 128, 128)
            assert 0 < mask.mean() < 1
            # Rounding to float16 may change pixels at the threshold.
            assert (np.abs(large[mask != (large >= 0.5)] - 0.5) <= 2**-12).all()
            seen.append(record.image_id)
    assert list(rows) == seen
    assert len(seen) == 7


@pytest.mark.slow
def test_batch_size_and_order_of_members_do_not_matter(dataset, runs, tmp_path):
    paths, _ = runs
    outputs = [
        rows_of(config(dataset, members, tmp_path / f"out{k}", batch_size=size))
        for k, (members, size) in enumerate([(paths, 1), (paths, 32), (paths[::-1], 4)])
    ]
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(set(outputs[0].values())) > 1


def test_confirms_a_complete_output_and_refuses_another(
    dataset, runs, tmp_path, monkeypatch
):
    paths, _ = runs
    first = config(dataset, paths, tmp_path / "out")
    path = first.output / SUBMISSION
    predict.predict(first)
    assert not (first.output / "parts").exists()
    monkeypatch.setattr(chunks, "read", None)
    before = path.stat().st_mtime_ns
    predict.predict(first)
    assert path.stat().st_mtime_ns == before
    other = config(dataset, paths, tmp_path / "out", postprocess="threshold(0.6)")
    with pytest.raises(CommandError, match="postprocess: stored .*0.5") as e:
        predict.predict(other)
    assert e.value.exit_code == ExitCode.CONFLICT
    path.write_text("x")
    with pytest.raises(CommandError, match="does not match its recorded sha256"):
        predict.predict(first)


def test_nan_is_never_an_empty_mask(dataset, tmp_path):
    member(tmp_path / "nan", dataset / "32", 0, bias=np.nan)
    with pytest.raises(CommandError, match="holds values that are not finite") as e:
        predict.predict(config(dataset, [tmp_path / "nan"], tmp_path / "out"))
    assert e.value.exit_code == ExitCode.CORRUPT


def test_nan_output_is_never_an_empty_mask(dataset, runs, tmp_path, monkeypatch):
    def broken(loaded, views):
        return lambda images: np.nan * next(iter(images.values()))

    monkeypatch.setattr(mean_probability, "segmenters", broken)
    with pytest.raises(CommandError, match="the prediction for image .* is not finite"):
        predict.predict(config(dataset, runs[0], tmp_path / "out"))
    assert not (tmp_path / "out" / "submission.csv").exists()


def test_refuses_members_of_another_size(dataset, runs, tmp_path):
    paths, _ = runs
    with pytest.raises(CommandError, match="was trained on .*'image_size': 32") as e:
        predict.predict(
            config(dataset, paths, tmp_path / "out", data=(dataset / "64",))
        )
    assert e.value.exit_code == ExitCode.CONFLICT


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "result.json").unlink(), "the run is not finished"),
        (lambda run: (run / "swa.weights.h5").unlink(), "is missing"),
        (lambda run: flip(run / "swa.weights.h5"), "does not match its recorded"),
        (lambda run: flip(run / "config.json"), "does not match|is not JSON"),
        (lambda run: (run / "config.json").unlink(), "no config.json in"),
    ],
    ids=["unfinished", "missing", "flipped", "config_flipped", "no_run"],
)
def test_refuses_a_damaged_run(dataset, runs, tmp_path, damage, message):
    damage(runs[0][1])
    with pytest.raises(CommandError, match=message):
        predict.predict(config(dataset, runs[0], tmp_path / "out"))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_refuses_unknown_weights(dataset, runs, tmp_path):
    with pytest.raises(CommandError, match="has no weights 'last', it has"):
        predict.predict(config(dataset, runs[0], tmp_path / "out", weights="last"))


def test_refuses_a_dataset_without_a_test_split(dataset, runs, tmp_path):
    source = durable.read_json(dataset / "32" / "dataset.json", fix="")
    source["shards"] = []
    durable.write_json(tmp_path / "empty" / "dataset.json", source)
    with pytest.raises(CommandError, match="has no test split"):
        predict.predict(
            config(dataset, runs[0], tmp_path / "out", data=(tmp_path / "empty",))
        )


def copied(dataset, folder):
    shutil.copytree(dataset / "32", folder)
    return folder, manifest.read(folder)


def test_a_damaged_record_is_never_an_empty_mask(dataset, runs, tmp_path):
    folder, data = copied(dataset, tmp_path / "data")
    flip(folder / data.test_shards()[1].name)
    with pytest.raises(CommandError, match="does not match its recorded sha256"):
        predict.predict(config(dataset, runs[0], tmp_path / "out", data=(folder,)))


def test_refuses_a_record_that_is_damaged_after_the_check(
    dataset, runs, tmp_path, monkeypatch
):
    folder, data = copied(dataset, tmp_path / "data")

    def too_late(folder, shards, **options):
        flip(folder / shards[1].name)

    monkeypatch.setattr(manifest, "check_shards", too_late)
    with pytest.raises(CommandError, match="cannot be read: corrupted record") as e:
        predict.predict(config(dataset, runs[0], tmp_path / "out", data=(folder,)))
    assert e.value.exit_code == ExitCode.CORRUPT
    assert not (tmp_path / "out" / "submission.csv").exists()


def test_refuses_an_image_twice(dataset, runs, tmp_path):
    folder, data = copied(dataset, tmp_path / "data")
    first, second = data.test_shards()
    records = [*shards.read(folder / second.name)][:-1]
    records += [next(shards.read(folder / first.name))]
    *_, num_bytes, digest = shards.write(folder / second.name, records)
    doubled = dataclasses.replace(second, num_bytes=num_bytes, sha256=digest)
    manifest.write(folder, dataclasses.replace(data, shards=(first, doubled)))
    with pytest.raises(CommandError, match="is in the dataset twice"):
        predict.predict(config(dataset, runs[0], tmp_path / "out", data=(folder,)))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)
def test_the_engine_is_part_of_the_provenance(dataset, runs, tmp_path):
    output = tmp_path / "out"
    rows = rows_of(config(dataset, runs[0], output))
    openvino = Engine(name="openvino", precision="f32")
    with pytest.raises(CommandError, match="engine: stored 'tensorflow'"):
        predict.predict(config(dataset, runs[0], output, engine=openvino))
    others = rows_of(config(dataset, runs[0], tmp_path / "other", engine=openvino))
    assert set(rows.values()) != {rle.EMPTY}
    for image_id, code in rows.items():
        masks = [rle.decode(c, 128, 128) for c in (code, others[image_id])]
        assert (masks[0] != masks[1]).mean() < 0.001
