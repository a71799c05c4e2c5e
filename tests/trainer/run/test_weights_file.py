"""Weights made in memory are the file that Keras writes."""

import pathlib

import h5py
import keras
import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests import fakes
from trainer.models import registry
from trainer.run import weights_file


def large():
    """With nested models, and weights of more than HDF5's smallest blocks."""
    return registry.build_from_spec("uefficientnet(encoder=b0)", image_size=32)


@pytest.mark.parametrize(
    "build",
    [
        lambda: fakes.build_tiny(image_size=32, dropout=0.2),
        lambda: fakes.build_encoded(image_size=32),
        pytest.param(large, marks=pytest.mark.slow),
    ],
)
def test_the_bytes_are_those_of_keras(tmp_path, build):
    model = build()
    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    made = weights_file.to_bytes(model)
    assert made == path.read_bytes()
    before = model.get_weights()
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    path.write_bytes(made)
    model.load_weights(path)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert weights_file.to_bytes(model).startswith(b"\x89HDF")
    assert list(pathlib.Path().iterdir()) == []


def test_weights_of_another_network_are_one_line(tmp_path):
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((4, 2))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="tiny")
    with pytest.raises(CommandError, match="not hold the weights of tiny") as caught:
        weights_file.load(model, path, fix="train it again")
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert str(path) in str(caught.value)
    # A machine that fails is no fault of the file.
    with pytest.raises(FileNotFoundError):
        weights_file.load(model, tmp_path / "gone.weights.h5", fix="")
