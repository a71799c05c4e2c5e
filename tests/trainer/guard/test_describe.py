"""The end of a long run: what goes wrong with its description must not cost it."""

import numpy as np
import pytest
import tensorflow as tf

from tests import fakes
from trainer.guard import describe
from trainer.guard import description
from trainer.guard import features
from trainer.input.fold_dataset import FoldDataset


@pytest.fixture
def data(dataset):
    return FoldDataset(fakes.train_config(), dataset / "32")


def written(folder, data, monkeypatch, *measures):
    """Describes by the features, and by `measures` in the place of a network."""
    every = (features.of_images, *measures)
    monkeypatch.setattr(describe, "_measures", lambda *args: every)
    describe.write(folder, data, data.config)
    return description.read(folder / "guard.npz")


def means(images):
    return {"encoder:swa": tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])}


def test_a_device_that_is_nearly_full(data, tmp_path, monkeypatch):
    asked = []

    def tight(images):
        asked.append(len(images))
        if len(images) > 3:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return means(images)

    whole = written(tmp_path, data, monkeypatch, means)
    monkeypatch.setattr(describe, "_BATCH", 7)
    parts = written(tmp_path, data, monkeypatch, tight)
    for group, held_out in whole.held_out.items():
        np.testing.assert_allclose(parts.held_out[group], held_out, atol=1e-3)
    # It is not tried in vain for every batch.
    assert asked.count(7) <= 2
    assert max(asked[1:3]) == 3


@pytest.mark.parametrize(
    ("text", "asked"),
    [("OOM when allocating", [4, 2, 1]), ("No space left on device", [4])],
)
def test_what_fewer_films_do_not_help(data, tmp_path, monkeypatch, text, asked):
    sizes = []

    def full(images):
        sizes.append(len(images))
        raise tf.errors.ResourceExhaustedError(None, None, text)

    monkeypatch.setattr(describe, "_BATCH", 4)
    with pytest.raises(tf.errors.ResourceExhaustedError, match=text):
        written(tmp_path, data, monkeypatch, full)
    assert sizes == asked


@pytest.mark.parametrize("is_held_out", [False, True])
def test_features_that_overflow_are_left_out(
    data, tmp_path, monkeypatch, caplog, is_held_out
):
    num_calls = []

    def overflows(images):
        num_calls.append(1)
        bad = (len(num_calls) > 1) == is_held_out
        return {"encoder:swa": means(images)["encoder:swa"] + (np.inf if bad else 0)}

    monkeypatch.setattr(describe, "_BATCH", 100)
    found = written(tmp_path, data, monkeypatch, means, overflows)
    assert set(found.distances) == set(features.SIZES)
    assert "encoder:swa is not finite" in caplog.text
