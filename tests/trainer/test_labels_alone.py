"""Training on labels without masks: classifiers do, segmenters say that they cannot."""

import csv
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from data_prep.build import convert
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import PredictConfig
from inference.prediction import predict
from tests import fakes
from tests import label_films
from trainer import loop
from trainer.augment import compiled
from trainer.augment import draws
from trainer.augment import recipe
from trainer.config import PreviewConfig
from trainer.input import preview_pictures
from trainer.models import registry
from trainer.run import run_folder

ROOT = pathlib.Path(__file__).parents[2]
CLASSIFIER = "encoded(label=true)"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A dataset of 24 films at 32 px with labels alone."""
    folder = tmp_path_factory.mktemp("films")
    label_films.write(folder)
    config = label_films.config(folder, folder / "data")
    convert.convert(config)
    return config.output / "32"


def test_a_segmenter_is_refused(labelled, tmp_path):
    config = fakes.train_config()
    with pytest.raises(CommandError, match="has labels and no masks, and") as e:
        loop.train(config, fakes.execution(labelled, tmp_path / "run"))
    assert e.value.exit_code == ExitCode.FLAGS
    assert "train a classifier, such as --model=densenet169" in str(e.value)
    assert not list((tmp_path / "run").rglob("*.h5"))


@pytest.mark.slow
def test_the_command_refuses_a_segmenter(labelled, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "trainer.main", f"--data={labelled}"),
            *(
                "--model=unet(starting_filters=4, n_pools=3, label=true)",
                f"--workdir={tmp_path / 'run'}",
            ),
            *("--global_batch_size=4", "--epochs=1", "--swa_epochs=0"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert done.returncode == ExitCode.FLAGS, done.stderr
    (line,) = [x for x in done.stderr.splitlines() if "ERROR" in x]
    assert "has labels and no masks" in line
    assert "Traceback" not in done.stderr


def test_images_are_augmented_as_with_masks():
    augment = recipe.parse("hflip(p=0.5)|rotation(10, p=1)")
    image = tf.constant(
        np.random.default_rng(0).integers(0, 255, (4, 32, 32, 1), np.uint8)
    )
    seeds = draws.seeds_of_step(1, tf.constant(0), 4)
    both = {"image": image, "mask": tf.zeros_like(image), "label": 1}
    expected = compiled.augmented(both, augment, seeds)
    found = compiled.augmented({"image": image, "label": 1}, augment, seeds)
    assert found.keys() == {"image", "label"}
    np.testing.assert_array_equal(found["image"], expected["image"])
    assert not np.array_equal(found["image"], image)


def test_the_preview_shows_images_without_outlines(labelled, tmp_path):
    path = tmp_path / "preview.png"
    preview_pictures.write(
        PreviewConfig(data=labelled, augment="hflip(p=1)", output=path, seed=0)
    )
    assert path.stat().st_size > 1000


@pytest.fixture(scope="module")
def pretrained(labelled, tmp_path_factory):
    """A classifier of labels alone, trained for an epoch from memory."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.MODELS, "encoded", fakes.build_encoded)
        config = fakes.train_config(
            model=CLASSIFIER, epochs=2, swa_epochs=1, sampling="positive_fraction(0.5)"
        )
        result = loop.train(config, fakes.execution(labelled, folder, cache="memory"))
    return folder, result


@pytest.mark.slow
def test_a_classifier_trains_and_is_validated(pretrained):
    _, result = pretrained
    scores = result["scores"]["swa"]
    assert 0 <= scores["auc"] <= 1
    assert "dice" not in scores


@pytest.mark.slow
def test_augmenting_on_the_device_gives_the_same_weights(
    pretrained, labelled, tmp_path
):
    _, expected = pretrained
    config = fakes.train_config(
        model=CLASSIFIER, epochs=2, swa_epochs=1, sampling="positive_fraction(0.5)"
    )
    execution = fakes.execution(labelled, tmp_path / "run", augment_on="device")
    assert loop.train(config, execution)["weights"] == expected["weights"]


@pytest.mark.slow
def test_pretrained_weights_begin_a_run_on_masks(pretrained, dataset, tmp_path):
    """The way from labels of whole images to the cascade's classifier."""
    folder, _ = pretrained
    config = fakes.train_config(
        model=CLASSIFIER, epochs=1, swa_epochs=1, init_from=str(folder)
    )
    result = loop.train(config, fakes.execution(dataset / "32", tmp_path / "run"))
    assert result["begun_with"]["init_from"] == CLASSIFIER
    assert result["scores"]["swa"]["auc"] is not None


@pytest.mark.slow
def test_images_that_a_classifier_did_not_see_are_predicted(
    pretrained, labelled, tmp_path
):
    folder, _ = pretrained
    predict.predict(
        PredictConfig(
            data=(labelled,),
            source=None,
            classifiers=(folder,),
            output=tmp_path / "out",
            split="out_of_fold",
            num_workers=1,
            require_gpu=False,
        )
    )
    facts = run_folder.open_finished(folder).dataset
    assert facts["options"]["labels"] == "image"
    path = tmp_path / "out" / "classification.csv"
    with path.open() as file:
        assert len(list(csv.DictReader(file))) == 8
