"""The user's own settings of Keras belong to other projects, and change nothing."""

import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests import fakes
from trainer import loop
from trainer.config import TrainConfig
from trainer.run import run_folder

ROOT = pathlib.Path(__file__).parents[2]
ALIEN = {
    "backend": "torch",
    "floatx": "float16",
    "epsilon": 0.5,
    "image_data_format": "channels_first",
}
# The tiny network's weights are of a formula, and its statistics those of a batch.
CODE = """
from trainer.machine import backend
backend.load()
import json, keras, numpy as np
from tests.trainer import test_keras_settings as here
print(json.dumps(here.found()))
"""


def found() -> dict:
    """Returns what Keras is set to here, and the mean outputs of a small network."""
    import keras

    model = fakes.build_tiny(image_size=8)
    for weight in model.weights:
        values = np.linspace(0.1, 1, int(np.prod(weight.shape)), dtype=np.float64)
        weight.assign(values.reshape(weight.shape))
    image = np.arange(4 * 8 * 8).reshape(4, 8, 8, 1)
    logits = model(image.astype(np.float32), training=True)["mask"]
    kernel = model.get_layer("conv").kernel
    return {
        "backend": keras.backend.backend(),
        "image_data_format": keras.config.image_data_format(),
        "epsilon": keras.config.epsilon(),
        "dtype": keras.backend.standardize_dtype(kernel.dtype),
        "logits": np.mean(logits, axis=(1, 2, 3)).round(4).tolist(),
    }


def environment(home, settings: str, **more) -> dict[str, str]:
    """Returns the environment of a user with these settings in a keras.json."""
    path = home / ".keras" / "keras.json"
    path.parent.mkdir(parents=True)
    path.write_text(settings)
    given = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    return given | {"HOME": str(home)} | more


def run(arguments, env):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("settings", [json.dumps(ALIEN), "{"], ids=["alien", "broken"])
def test_a_network_computes_the_same(tmp_path, settings):
    printed = run(["-c", CODE], environment(tmp_path, settings))
    expected = found()
    assert expected["backend"] == "tensorflow"
    assert expected["dtype"] == "float32"
    assert np.std(expected["logits"]) > 0
    assert json.loads(printed.splitlines()[-1]) == expected


@pytest.mark.slow
def test_a_run_trains_the_same(dataset, tmp_path):
    """The command, with a variable that wins over the file."""
    flags = {
        "model": "unet(starting_filters=2, n_pools=2)",
        "data": dataset / "32",
        "workdir": tmp_path / "command",
        "fold": 0,
        "seed": 1,
        "epochs": 1,
        "swa_epochs": 0,
        "global_batch_size": 8,
        "augment": "none",
        "strategy": "single",
        "cache": "none",
    }
    printed = run(
        ["-m", "trainer.main", *(f"--{k}={v}" for k, v in flags.items())],
        environment(tmp_path / "home", json.dumps(ALIEN), KERAS_BACKEND="jax"),
    )
    stored = run_folder.open_finished(tmp_path / "command").config
    fields = [field.name for field in dataclasses.fields(TrainConfig)]
    config = TrainConfig(**{name: stored[name] for name in fields})
    here = loop.train(
        config, fakes.execution(dataset / "32", tmp_path / "here", strategy="single")
    )
    last, expected = (
        list(csv.reader((tmp_path / name / "log.csv").read_text().splitlines()))[-1]
        for name in ("command", "here")
    )
    best = "best_tuned_dice"
    assert json.loads(printed.splitlines()[-1])[best] == pytest.approx(
        here["scores"][best], rel=1e-4
    )
    for one, other in zip(last, expected, strict=True):
        assert one == other or float(one) == pytest.approx(float(other), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"floatx": "float8"}, "Keras does not load with floatx='float8' in"),
        ([], "Keras does not load with a list instead of an object in"),
    ],
)
def test_what_keras_itself_refuses_is_one_line(tmp_path, settings, said):
    done = subprocess.run(
        [sys.executable, "-m", "trainer.list_models", "--image_size=32"],
        cwd=ROOT,
        env=environment(tmp_path, json.dumps(settings)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 6, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert "rm " in done.stderr
    assert "keras.json" in done.stderr
