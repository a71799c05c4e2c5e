"""Classifiers decide which images are segmented, with their own views and sizes."""

import keras
import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.dataset import manifest
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from inference.config import Engine
from inference.ensemble import classification
from inference.ensemble import mean_probability
from inference.ensemble import members
from inference.ensemble import networks
from inference.ensemble import placement
from inference.inputs import chunks
from inference.inputs import datasets
from inference.prediction import predict
from inference.prediction import probability_csv
from inference.prediction import probability_maps
from inference.prediction.joining import CLASSIFICATION
from inference.prediction.joining import SUBMISSION
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import member
from tests.inference.prediction.test_predict import config
from tests.inference.prediction.test_predict import rows_of

TENSORFLOW = Engine(name="tensorflow", precision="f32")


@pytest.fixture
def runs(dataset, tmp_path):
    """Returns a segmenter of 32 px that marks all pixels, and a classifier of 64 px."""
    member(tmp_path / "segmenter", dataset / "32", 1, bias=9.0)
    network = member(tmp_path / "classifier", dataset / "64", 2, model=CLASSIFIER)
    return tmp_path / "segmenter", tmp_path / "classifier", network


def cascade(dataset, runs, output, **changes):
    fields = {"data": (dataset,), "classifiers": (runs[1],)}
    return config(dataset, [runs[0]], output, **(fields | changes))


def records(folder):
    for shard in manifest.read(folder).test_shards():
        yield from map(schema.parse, shards.read(folder / shard.name))


def pixels(record, size):
    image = np.frombuffer(record.pixels, np.uint8).reshape(1, size, size, 1)
    return image.astype(np.float32)


def test_only_what_passes_is_segmented(dataset, runs, tmp_path, monkeypatch):
    expected = {}
    for record in records(dataset / "64"):
        logit = runs[2](pixels(record, 64), training=False)["label"][0, 0]
        expected[record.image_id] = float(keras.ops.sigmoid(logit))
    gate = sorted(expected.values())[3] - 1e-4
    segmented = []
    make = mean_probability.segmenters

    def counted(*arguments):
        predict_maps = make(*arguments)

        def segment(images):
            segmented.append(len(next(iter(images.values()))))
            return predict_maps(images)

        return segment

    monkeypatch.setattr(mean_probability, "segmenters", counted)
    asked = cascade(
        dataset, runs, tmp_path / "out", postprocess=f"gate({gate})|threshold(0.5)"
    )
    rows = rows_of(asked)
    classified = probability_csv.read(asked.output / CLASSIFICATION)
    assert list(classified) == list(rows) == list(expected)
    for image_id, value in classified.items():
        assert value == pytest.approx(expected[image_id], abs=1e-5)
        assert (rows[image_id] != rle.EMPTY) == (value >= gate)
    assert sum(segmented) == 4


def test_classifiers_alone_write_only_their_csv(dataset, runs, tmp_path):
    asked = config(
        dataset, [], tmp_path / "out", classifiers=(runs[1],), data=(dataset / "64",)
    )
    predict.predict(asked)
    assert len(probability_csv.read(asked.output / CLASSIFICATION)) == 7
    assert not (asked.output / SUBMISSION).exists()


@pytest.mark.slow
def test_views_of_the_2019_solution(dataset, runs, tmp_path):
    def classified(name, **changes):
        asked = cascade(
            dataset,
            runs,
            tmp_path / name,
            classifier_tta=("invert", "hflip"),
            classifier_random_views=4,
            **changes,
        )
        predict.predict(asked)
        return probability_csv.read(asked.output / CLASSIFICATION)

    varied = classified("a")
    # The variations depend on the id, not on the batch.
    assert classified("b", batch_size=3) == varied
    plain = cascade(dataset, runs, tmp_path / "c")
    predict.predict(plain)
    assert probability_csv.read(plain.output / CLASSIFICATION) != varied


def test_mean_of_views_by_hand(dataset, runs, monkeypatch):
    loader = members.Loader("swa", datasets.find([dataset]), TENSORFLOW)
    loaded = loader.load_all([runs[1]], members.LABEL)
    seen = []

    def vary(images, masks, seeds):
        seen.append(np.array(seeds)[:2])
        return images // 2, masks

    monkeypatch.setattr(classification.compiled, "image_by_image", lambda recipe: vary)
    group = members.LoadedGroup(segmenters=[], classifiers=loaded)
    placed = placement.place(group, networks.HOST).classifiers
    classify = classification.Classification(placed, ("invert",), 2)
    images = np.concatenate([pixels(r, 64) for r in records(dataset / "64")][:2])
    key = str(loaded[0].dataset.folder)
    pictures = {key: images.astype(np.uint8)}
    probabilities = classify(pictures, ["a", "b"], padded_to=4)
    total = 0
    for view in (images, 255 - images):
        for varied in (view, view // 2, view // 2):
            logits = runs[2](varied, training=False)["label"][:, 0]
            total = total + keras.ops.sigmoid(logits).numpy()
    np.testing.assert_allclose(probabilities, total / 6, atol=1e-5)
    # Each variation of each image has its own seed.
    assert len({tuple(seed) for seeds in seen for seed in seeds}) == 8


@pytest.mark.slow
def test_sizes_are_averaged_at_the_smallest(dataset, tmp_path):
    small = member(tmp_path / "small", dataset / "32", 1)
    large = member(tmp_path / "large", dataset / "64", 2)
    asked = config(
        dataset,
        [tmp_path / "small", tmp_path / "large"],
        tmp_path / "out",
        data=(dataset / "32", dataset / "64"),
        outputs=("csv", "probabilities"),
        tta=("none",),
    )
    predict.predict(asked)
    _, maps = probability_maps.read_folder(asked.output)
    maps = {m.image_id: m.values for m in maps}
    both = zip(records(dataset / "32"), records(dataset / "64"), strict=True)
    for small_record, large_record in both:
        low = keras.ops.sigmoid(small(pixels(small_record, 32))["mask"])[0, :, :, 0]
        high = keras.ops.sigmoid(large(pixels(large_record, 64))["mask"])[0, :, :, 0]
        blocks = high.numpy().reshape(32, 2, 32, 2).mean(axis=(1, 3))
        mean = (low.numpy() + blocks) / 2
        np.testing.assert_allclose(maps[small_record.image_id], mean, atol=2**-11)
    assert len(maps) == 7


def test_refuses_segmenters_as_classifiers_and_the_reverse(dataset, runs, tmp_path):
    with pytest.raises(CommandError, match="is a classifier, which outlines nothing"):
        predict.predict(config(dataset, [runs[1]], tmp_path / "a", data=(dataset,)))
    with pytest.raises(ConfigError, match="different run folders"):
        cascade(dataset, runs, tmp_path / "b", classifiers=(runs[0],))
    other = config(dataset, [], tmp_path / "c", classifiers=(runs[0],))
    with pytest.raises(CommandError, match="is a segmenter, which does not classify"):
        predict.predict(other)


def test_refuses_the_same_weights_twice(dataset, tmp_path):
    for name in ("one", "two"):
        member(tmp_path / name, dataset / "32", 5)
    paths = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(CommandError, match="have the same weights"):
        predict.predict(config(dataset, paths, tmp_path / "out"))


def test_refuses_datasets_with_different_images(dataset, tmp_path, monkeypatch):
    member(tmp_path / "a", dataset / "32", 1)
    member(tmp_path / "b", dataset / "64", 2)
    asked = config(
        dataset, [tmp_path / "a", tmp_path / "b"], tmp_path / "out", data=(dataset,)
    )
    decode = chunks.Decoder.__call__

    def renamed(self, serialized):
        batch = decode(self, serialized)
        if self.image_size == 64:
            batch["id"] = batch["id"][::-1]
        return batch

    monkeypatch.setattr(chunks.Decoder, "__call__", renamed)
    with pytest.raises(CommandError, match="hold other images"):
        predict.predict(asked)
