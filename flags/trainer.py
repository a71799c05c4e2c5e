"""Flags of `python -m trainer.main`."""

import pathlib

from absl import flags

from flags import command
from flags import common
from trainer.config import Execution
from trainer.config import TrainConfig

_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder to write.")
_MODEL = flags.DEFINE_string(
    "model",
    "uefficientnetpp(encoder=b4)",
    "Network and its options, see trainer/models/registry.py.",
)
_ENCODER_WEIGHTS = flags.DEFINE_string(
    "encoder_weights",
    "none",
    "What the encoder begins with: none, imagenet, noisy-student, nih or a file.",
)
_INIT_FROM = flags.DEFINE_string(
    "init_from", "", "Run folder whose weights to begin with, as far as they fit."
)
_FOLD = flags.DEFINE_integer("fold", 0, "The validation fold.", lower_bound=0)
_EPOCHS = flags.DEFINE_integer("epochs", 70, "Rounds of training.", lower_bound=1)
_GLOBAL_BATCH_SIZE = flags.DEFINE_integer(
    "global_batch_size", 16, "Images a step, all devices together.", lower_bound=1
)
_OPTIMIZER = flags.DEFINE_enum(
    "optimizer", "adam", ["adam", "adamw", "sgd"], "Update rule."
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 1e-3, "The schedule's peak.", lower_bound=0
)
_WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 1e-4, "Of AdamW.", lower_bound=0)
_SCHEDULE = flags.DEFINE_string(
    "schedule", "cosine", "Learning rate by epoch, see trainer/schedules.py."
)
_LOSS = flags.DEFINE_string(
    "loss", "bce(1)+dice(1)", "Sum of losses, see trainer/losses.py."
)
_LABEL_SMOOTHING = flags.DEFINE_float(
    "label_smoothing",
    0.0,
    "Share of a classifier's label that is moved to even odds, such as 0.05.",
    lower_bound=0,
)
_SAMPLING = flags.DEFINE_string(
    "sampling",
    "natural",
    "Images of an epoch: natural, positives, positive_fraction(0.8:0.4) or "
    "positive_fraction(0.8, 0.6, 0.4), see trainer/sampling.py.",
)
_SWA_EPOCHS = flags.DEFINE_integer(
    "swa_epochs", 3, "How many last epochs are averaged; 0 for none.", lower_bound=0
)
_SWA_UPDATE_BN = flags.DEFINE_bool(
    "swa_update_bn", True, "Re-estimate batch norm for the averaged weights."
)
_EMA_MOMENTUM = flags.DEFINE_float(
    "ema_momentum",
    0.0,
    "Of a moving average of the weights, such as 0.999; 0 for none.",
    lower_bound=0,
)
_TOP_K = flags.DEFINE_integer(
    "top_k", 1, "How many of the best epochs keep their weights.", lower_bound=1
)
_FROZEN_EPOCHS = flags.DEFINE_integer(
    "frozen_epochs", 0, "First epochs that leave the encoder alone.", lower_bound=0
)
_ACCUMULATION = flags.DEFINE_integer(
    "accumulation",
    1,
    "Parts that each device works its batch off in, with one update.",
    lower_bound=1,
)
_CLIP_NORM = flags.DEFINE_float(
    "clip_norm", 0.0, "Upper bound of the gradient's norm; 0 for none.", lower_bound=0
)
_JIT = flags.DEFINE_bool(
    "jit", False, "Compile forward and backward pass with XLA; one device only."
)
_BATCH_NORM_MOMENTUM = flags.DEFINE_float(
    "batch_norm_momentum",
    0.99,
    "Of the moving statistics; short runs need less.",
    lower_bound=0,
    upper_bound=1,
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_float16", "mixed_bfloat16"],
    "Keras dtype policy; mixed ones pay on a GPU.",
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", True, "Bitwise reproducible; turn it off for speed on a GPU."
)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    ["auto", "single", "mirrored", "multi_worker"],
    "Devices: mirrored uses all GPUs, or the CPU where there is none; multi_worker "
    "those of all processes in TF_CONFIG. auto: the latter where it is set, single "
    "where there is one device, else mirrored.",
)
_MAX_HOURS = flags.DEFINE_float(
    "max_hours",
    0.0,
    "Save and stop after this time, with exit code 75; 0 for never.",
    lower_bound=0,
)
_STEPS_PER_CALL = flags.DEFINE_integer(
    "steps_per_call", 8, "Steps in one call of the graph.", lower_bound=1
)
_CACHE = flags.DEFINE_enum(
    "cache",
    "none",
    ["none", "memory"],
    "Where training images are kept between epochs, beside the system's own cache.",
)
_DATA_SERVICE = flags.DEFINE_string(
    "data_service",
    "",
    "grpc://host:port of a tf.data service with one worker that makes the batches.",
)
_AUGMENT_ON = flags.DEFINE_enum(
    "augment_on",
    "host",
    ["host", "device"],
    "Where images are augmented: beside the input, or in the step; same results.",
)


def train_config() -> TrainConfig:
    """Returns the flags that decide a run's outcome."""
    return TrainConfig(
        model=_MODEL.value,
        encoder_weights=_ENCODER_WEIGHTS.value,
        init_from=_INIT_FROM.value,
        fold=_FOLD.value,
        seed=common.SEED.value,
        epochs=_EPOCHS.value,
        global_batch_size=_GLOBAL_BATCH_SIZE.value,
        optimizer=_OPTIMIZER.value,
        learning_rate=_LEARNING_RATE.value,
        weight_decay=_WEIGHT_DECAY.value,
        schedule=_SCHEDULE.value,
        loss=_LOSS.value,
        label_smoothing=_LABEL_SMOOTHING.value,
        augment=common.AUGMENT.value,
        sampling=_SAMPLING.value,
        swa_epochs=_SWA_EPOCHS.value,
        swa_update_bn=_SWA_UPDATE_BN.value,
        ema_momentum=_EMA_MOMENTUM.value,
        top_k=_TOP_K.value,
        frozen_epochs=_FROZEN_EPOCHS.value,
        accumulation=_ACCUMULATION.value,
        clip_norm=_CLIP_NORM.value,
        jit=_JIT.value,
        batch_norm_momentum=_BATCH_NORM_MOMENTUM.value,
        precision=_PRECISION.value,
        deterministic=_DETERMINISTIC.value,
    )


def execution() -> Execution:
    """Returns the flags that say where and how a run is carried out."""
    return Execution(
        data=pathlib.Path(common.required(common.DATA)),
        workdir=pathlib.Path(common.required(_WORKDIR)),
        strategy=_STRATEGY.value,
        steps_per_call=_STEPS_PER_CALL.value,
        max_hours=_MAX_HOURS.value,
        cache=_CACHE.value,
        data_service=_DATA_SERVICE.value,
        augment_on=_AUGMENT_ON.value,
        require_gpu=common.REQUIRE_GPU.value,
        flagfile=command.as_flagfile(),
    )
