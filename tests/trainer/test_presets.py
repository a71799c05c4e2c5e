"""Every preset trains: its own flags, network, loss and recipe, for two steps.

Replaced are the number of images, 2 a part of the batch; the weights to begin with,
which would be downloaded; and the devices, one, or two where the recipe is for several
cards. The segmenters' B4 has its stages and widths, but one block in each; for two
classifiers smaller networks of their families stand in. A step is not traced to a
graph, which takes a minute for the deep networks.
"""

import contextlib
import dataclasses
import functools
import pathlib
import re

import efficientnet.tfkeras as efficientnet
import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from data_prep.build import convert
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import preset
from flags import trainer as trainer_flags
from trainer.input.fold_dataset import FoldDataset
from trainer.models import batch_norm
from trainer.models import encoders
from trainer.models.weights import pretrained
from trainer.optim import optimizers
from trainer.trainer import Trainer

FOLDER = pathlib.Path(__file__).parents[2] / "flags" / "presets"
SIZE = 64
# The least that these take, a multiple of 32.
LARGER = {
    "classifier_inception_resnet_v2_nih": 96,
    "classifier_xception_nih": 96,
    "nih_pretrain_inception_resnet_v2": 96,
    "nih_pretrain_xception": 96,
}
STEPS = 2

LADDER = {"swa_epochs": 3, "epochs": 16, "optimizer": "adam", "loss": "bce(1)+dice(1)"}
SEED = LADDER | {"epochs": 70, "augment": "seed_segmentation", "sampling": "natural"}
CLASSIFIER = SEED | {"epochs": 30, "augment": "seed_classification"}
PRETRAINED = CLASSIFIER | {
    "epochs": 15,
    "encoder_weights": "none",
    "sampling": "positive_fraction(0.2)",
}
WINNER = {
    "swa_epochs": 3,
    "top_k": 3,
    "optimizer": "adamw",
    "weight_decay": 5e-6,
    "clip_norm": 0.1,
    "loss": "bce(3)+dice(1)+focal(4)",
    "sampling": "positive_fraction(0.8:0.4)",
    "encoder_weights": "imagenet",
}
# What each is about, said a second time: a line that is lost from a preset, or that
# the flags no longer read, is seen here.
SPECIAL = {
    "cascade_segmenter_positives": SEED | {"sampling": "positives"},
    "classifier_densenet169_nih": CLASSIFIER | {"encoder_weights": "nih"},
    "classifier_efficientnet_b4": CLASSIFIER | {"encoder_weights": "imagenet"},
    "classifier_inception_resnet_v2_nih": CLASSIFIER | {"encoder_weights": "nih"},
    "classifier_xception_nih": CLASSIFIER | {"encoder_weights": "nih"},
    "demo": {"swa_epochs": 3, "epochs": 10, "batch_norm_momentum": 0.9},
    "h100_x8_512": WINNER
    | {
        "epochs": 80,
        "swa_epochs": 5,
        "global_batch_size": 8 * 16,
        "learning_rate": 8e-4,
        "precision": "mixed_bfloat16",
    },
    "kaggle_2xt4_256": WINNER
    | {
        "epochs": 50,
        "global_batch_size": 2 * 16,
        "learning_rate": 2e-4,
        "precision": "mixed_float16",
    },
    "nih_pretrain_densenet169": PRETRAINED,
    "nih_pretrain_inception_resnet_v2": PRETRAINED,
    "nih_pretrain_xception": PRETRAINED,
    "progressive_1024": LADDER | {"accumulation": 8, "learning_rate": 3e-5},
    "progressive_512": LADDER | {"accumulation": 4, "learning_rate": 1e-4},
    "uefficientnet_b4_256": SEED,
    "uefficientnetpp_b4_256": SEED,
    "unet_512": SEED,
    "vae_cnn_512": SEED | {"loss": "dice(1)", "learning_rate": 1e-4},
    "winner_like_512": WINNER | {"accumulation": 4, "learning_rate": 1e-4},
}
# Of the peak, what the first epoch has of it.
WARM_UP = {
    "demo": 1 / 2,
    "h100_x8_512": 1 / 6,
    "kaggle_2xt4_256": 1 / 3,
    "winner_like_512": 1 / 3,
}
# Executions that differ from the default: hours, and where images are kept.
CACHED = {"h100_x8_512": 0.0, "kaggle_2xt4_256": 11.0}


@pytest.fixture(scope="module")
def data(convert_config, tmp_path_factory):
    output = tmp_path_factory.mktemp("presets") / "data"
    sizes = (SIZE, *sorted(set(LARGER.values())))
    convert.convert(dataclasses.replace(convert_config, output=output, sizes=sizes))
    return output


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    """B4 has every tap, but one block a stage; two classifiers have fewer layers."""
    shallow = functools.partial(
        efficientnet.inject_tfkeras_modules(efficientnet.model.EfficientNet),
        width_coefficient=1.4,
        depth_coefficient=0.1,
        default_resolution=380,
        dropout_rate=0.4,
        model_name="efficientnet-b4",
    )
    smaller = {
        "b4": shallow,
        "densenet169": keras.applications.DenseNet121,
        "efficientnet_b4": keras.applications.EfficientNetB0,
    }
    for name, network in smaller.items():
        replace_network(monkeypatch, name, network)


@pytest.fixture
def nothing_to_load(monkeypatch, tmp_path):
    """No file is stored, and none can be had from the libraries."""

    def without_weights(network):
        def build(weights, **options):
            if weights is not None:
                raise OSError
            return network(weights=None, **options)

        return build

    monkeypatch.setattr(pretrained, "STORE", tmp_path)
    for name, spec in encoders.ENCODERS.items():
        replace_network(monkeypatch, name, without_weights(spec.network))


def replace_network(monkeypatch, name, network):
    spec = dataclasses.replace(encoders.ENCODERS[name], network=network)
    monkeypatch.setitem(encoders.ENCODERS, name, spec)


@contextlib.contextmanager
def eagerly():
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def read(path, folder, workdir):
    """Returns what the preset's flags say, as trainer.main would read them."""
    with flagsaver.flagsaver():
        given = [f"--data={folder}", f"--workdir={workdir}"]
        # Without it, auto takes both of the tests' CPUs.
        given += [] if preset.read(path.stem).cards else ["--strategy=single"]
        flags.FLAGS(["test", f"--flagfile={path}", *given])
        return trainer_flags.train_config(), trainer_flags.execution()


def test_all_presets_are_here():
    assert {p.stem for p in FOLDER.glob("*.flagfile")} == set(SPECIAL)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_preset_trains(name, data, tmp_path, nothing_to_load):
    folder = data / str(LARGER.get(name, SIZE))
    given, execution = read(FOLDER / f"{name}.flagfile", folder, tmp_path)
    said = {key: getattr(given, key) for key in SPECIAL[name]}
    assert said == SPECIAL[name]
    assert execution.steps_per_call == (4 if name == "demo" else 8)
    assert execution.max_hours == CACHED.get(name, 0)
    assert execution.cache == ("memory" if name in CACHED else "none")
    num_devices = 2 if name in CACHED else 1
    config = dataclasses.replace(
        given,
        global_batch_size=2 * given.accumulation,
        encoder_weights="none",
    )
    if num_devices > 1:
        # Half precision on two CPUs is slow: a decoder with a quarter of the channels.
        model = given.model.replace("start_filters=8", "start_filters=2")
        config = dataclasses.replace(config, model=model)
    trainer = Trainer(config, execution, FoldDataset(config, folder))
    assert trainer.strategy.num_replicas_in_sync == num_devices
    check_model(name, trainer, given)
    check_images(trainer)
    rate = trainer.schedule.rate(config.learning_rate, 0, config.epochs, [])
    assert rate == pytest.approx(WARM_UP.get(name, 1) * config.learning_rate)
    trainer.state.optimizer.learning_rate.assign(rate)
    before = [w.numpy() for w in trainer.state.model.trainable_variables]
    iterator = trainer.batches(trainer.augment, 0)
    with eagerly():
        losses = trainer.train_steps(0)(iterator, tf.constant(STEPS)).losses
    assert losses.shape == [STEPS]
    assert np.isfinite(losses).all()
    assert trainer.state.optimizer.iterations == STEPS, "one update for all parts"
    check_moved(before, trainer, rate)


@pytest.mark.parametrize("name", [n for n in SPECIAL if n.startswith("nih_")])
def test_pretraining_fits_the_classifier_that_it_names(name):
    """The command in the preset's text begins the same network."""
    recipe = preset.read(name)
    (following,) = re.findall(r"--preset=(\w+)", recipe.about)
    assert "--encoder_weights=none --init_from=RUN" in recipe.about
    next_recipe = preset.read(following)
    assert next_recipe.value("model") == recipe.value("model")
    assert (next_recipe.size, next_recipe.cost) == (recipe.size, recipe.cost)


def check_model(name, trainer, given):
    """The network is of the preset's family, and its weights to begin with exist."""
    is_classifier = name.startswith(("classifier_", "nih_pretrain_"))
    assert set(trainer.state.model.output) == {"label" if is_classifier else "mask"}
    assert trainer.best_by == ("auc" if is_classifier else "tuned_dice")
    optimizer = {"adam": optimizers.Adam, "adamw": optimizers.AdamW}
    scaled = given.precision == "mixed_float16"
    found = trainer.state.optimizer
    assert isinstance(found, keras.optimizers.LossScaleOptimizer) == scaled
    found = found.inner_optimizer if scaled else found
    assert type(found) is optimizer[given.optimizer]
    if given.optimizer == "adamw":
        assert found.weight_decay == given.weight_decay
    momenta = {layer.momentum for layer in batch_norm.layers_of(trainer.state.model)}
    assert momenta <= {given.batch_norm_momentum}
    if given.encoder_weights != "none":
        # It knows which file the network wants, and has but to get it.
        with pytest.raises(CommandError, match="download") as e:
            pretrained.load(given.encoder_weights, trainer.state.model)
        assert e.value.exit_code == ExitCode.ENVIRONMENT


def check_images(trainer):
    """The first epoch has as many positives as the sampling is to give."""
    data, config = trainer.data, trainer.config
    count = data.steps_per_epoch * config.global_batch_size
    shards = data.train_shards
    labels = np.repeat([s.label for s in shards], [s.num_records for s in shards])
    drawn = labels[data.order.numbers(tf.range(count, dtype=tf.int64))]
    expected = {
        "positives": count,
        "positive_fraction(0.8:0.4)": round(0.8 * count),
        "positive_fraction(0.2)": round(0.2 * count),
    }
    if config.sampling in expected:
        assert drawn.sum() == expected[config.sampling]
    else:
        assert set(drawn) == {0, 1}


def check_moved(before, trainer, rate):
    """Adam moves a weight by the rate in its first step, and at most so later."""
    after = trainer.state.model.trainable_variables
    moved = [np.abs(a - b).max() for a, b in zip(after, before, strict=True)]
    assert 0.9 * rate < max(moved) < 1.1 * STEPS * rate
    kernels = [m for m, w in zip(moved, after, strict=True) if len(w.shape) > 1]
    assert min(kernels) > 0
    if trainer.state.model.name == "vae_cnn":
        reconstruction, divergence = trainer.state.model.losses
        assert reconstruction > 0
        assert divergence > 0
