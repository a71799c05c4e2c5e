"""Small fakes that tests share."""

import keras

from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.models import blocks


class KerasDropout(keras.layers.Dropout):
    """Keeps Keras's own random numbers, from which the golden losses were computed.

    A faster layer replaces a registry model's `Dropout`, but not a subclass of it.
    """


def build_tiny(
    *,
    image_size: int,
    filters: int = 4,
    dropout: float = 0.0,
    batch_norm: bool = True,
) -> keras.Model:
    """A three-layer network that keeps the registry's contract."""
    image = keras.Input((image_size, image_size, 1), name="image")
    x = keras.layers.Rescaling(1 / 255, name="normalise")(image)
    x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name="conv")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.LeakyReLU(0.1, name="lrelu")(x)
    x = KerasDropout(dropout, name="drop")(x)
    mask = keras.layers.Conv2D(1, 1, dtype="float32", name="mask_logits")(x)
    return keras.Model(image, {"mask": mask}, name="tiny")


def build_encoded(*, image_size: int, label: bool = False) -> keras.Model:
    """A network with an encoder, which outputs masks or labels."""
    x = inner = keras.Input((image_size, image_size, 1), name="inner")
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(x)
    x = keras.layers.BatchNormalization(name="bn")(x)
    encoder = keras.Model(inner, keras.layers.ReLU(name="relu")(x), name="encoder_tiny")
    image = keras.Input((image_size, image_size, 1), name="image")
    x = encoder(keras.layers.Rescaling(1 / 255, name="normalise")(image))
    if label:
        return keras.Model(
            image, {"label": blocks.label_logit(x)}, name="encoded_label"
        )
    mask = keras.layers.Conv2D(1, 1, dtype="float32", name="mask_logits")(x)
    return keras.Model(image, {"mask": mask}, name="encoded")


def train_config(**changes) -> TrainConfig:
    """The config of a run of a few steps; `changes` replace fields."""
    fields = {
        "model": "tiny(dropout=0.2)",
        "seed": 1,
        "epochs": 3,
        "global_batch_size": 4,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "augment": "hflip(p=0.5)|gamma(0.8, 1.2, p=0.3)|rotation(10, p=0.3)",
        "swa_epochs": 2,
        "batch_norm_momentum": 0.9,
    }
    return TrainConfig(**(fields | changes))


def execution(data, workdir, **changes) -> Execution:
    """The execution settings of a run; `changes` replace fields."""
    fields = {
        "data": data,
        "workdir": workdir,
        "strategy": "mirrored",
        "steps_per_call": 2,
        "log_every_steps": 5,
        "require_gpu": False,
        "flagfile": "--fold=0\n",
    }
    return Execution(**(fields | changes))
