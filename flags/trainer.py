"""Flags of `python -m trainer.main`."""

from absl import flags

from flags import command
from flags import common
from flags import execution as execution_flags
from flags import preset
from flags.groups import Groups
from trainer.config import Execution
from trainer.config import TrainConfig

_MODEL = flags.DEFINE_string(
    "model",
    "uefficientnetpp(encoder=b4)",
    "`Network` and its options; python -m trainer.list_models lists the networks.",
)
_ENCODER_WEIGHTS = flags.DEFINE_string(
    "encoder_weights",
    "none",
    "`Weights` that the encoder begins with: none for random ones, imagenet, "
    "noisy-student, nih, or a file.",
)
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    "",
    "Run `folder` whose weights the whole network begins with, as far as they fit.",
)
_FOLD = flags.DEFINE_integer(
    "fold",
    0,
    "`Number` of the fold to validate on, counted from 0; all others are trained on.",
    lower_bound=0,
)
_EPOCHS = flags.DEFINE_integer(
    "epochs",
    70,
    "How many `epochs` to train: rounds over the images, each with a validation.",
    lower_bound=1,
)
_GLOBAL_BATCH_SIZE = flags.DEFINE_integer(
    "global_batch_size",
    16,
    "How many `images` one update is made from, on all devices together.",
    lower_bound=1,
)
_OPTIMIZER = flags.DEFINE_enum(
    "optimizer",
    "adam",
    ["adam", "adamw", "sgd"],
    "Rule by which the weights are updated.",
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 1e-3, "Highest learning `rate` of the schedule.", lower_bound=0
)
_WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay",
    1e-4,
    "`Share` of each weight that --optimizer=adamw takes away in a step, times the "
    "learning rate.",
    lower_bound=0,
)
_SCHEDULE = flags.DEFINE_string(
    "schedule",
    "cosine",
    "`Course` of the learning rate over the epochs, such as cosine(warmup_epochs=2). "
    "See trainer/optim/schedules.py.",
)
_LOSS = flags.DEFINE_string(
    "loss",
    "bce(1)+dice(1)",
    "`Sum` of losses with their weights that a segmenter is trained with; a classifier "
    "has its own. See trainer/optim/losses.py.",
)
_LABEL_SMOOTHING = flags.DEFINE_float(
    "label_smoothing",
    0.0,
    "`Share` of a classifier's label that is moved to even odds, from 0 to below 1, "
    "such as 0.05.",
    lower_bound=0,
)
_SAMPLING = flags.DEFINE_string(
    "sampling",
    "natural",
    "`Choice` of the images of an epoch: natural (all), positives, or their share from "
    "the first epoch to the last, positive_fraction(0.8:0.4) or "
    "positive_fraction(0.8, 0.6, 0.4). See trainer/input/sampling.py.",
)
_SWA_EPOCHS = flags.DEFINE_integer(
    "swa_epochs",
    3,
    "How many of the last `epochs` have their weights averaged; 0 for none.",
    lower_bound=0,
)
_SWA_UPDATE_BN = flags.DEFINE_bool(
    "swa_update_bn",
    True,
    "Estimate the statistics of batch norm anew for the averaged weights.",
)
_EMA_MOMENTUM = flags.DEFINE_float(
    "ema_momentum",
    0.0,
    "`Momentum` of a moving average of the weights over all steps, such as 0.999; 0 "
    "for no such average.",
    lower_bound=0,
)
_TOP_K = flags.DEFINE_integer(
    "top_k",
    1,
    "How many `epochs`, the best by validation, have their weights kept.",
    lower_bound=1,
)
_FROZEN_EPOCHS = flags.DEFINE_integer(
    "frozen_epochs",
    0,
    "How many of the first `epochs` leave the encoder's weights as they are.",
    lower_bound=0,
)
_ACCUMULATION = flags.DEFINE_integer(
    "accumulation",
    1,
    "How many `parts` each device splits its images into for one update; more need "
    "less memory.",
    lower_bound=1,
)
_CLIP_NORM = flags.DEFINE_float(
    "clip_norm",
    0.0,
    "Upper `bound` of the gradient's norm; 0 for none.",
    lower_bound=0,
)
_JIT = flags.DEFINE_bool(
    "jit",
    False,
    "Compile the forward and the backward pass with XLA; on one device only.",
)
_BATCH_NORM_MOMENTUM = flags.DEFINE_float(
    "batch_norm_momentum",
    0.99,
    "`Momentum` of batch norm's moving statistics, from 0 to 1; with 0.99 they lag by "
    "a hundred steps, and short runs need less.",
    lower_bound=0,
    upper_bound=1,
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_float16", "mixed_bfloat16"],
    "Number format of the computation, as Keras names it; the mixed ones are faster on "
    "many GPUs.",
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic",
    True,
    "The same flags give the same weights bit by bit on the same devices; without, a "
    "GPU may be faster.",
)

GROUPS = Groups(
    needed=(common.DATA, execution_flags.WORKDIR),
    common=(
        preset.PRESET,
        _MODEL,
        _ENCODER_WEIGHTS,
        _INIT_FROM,
        _FOLD,
        common.SEED,
        _EPOCHS,
        _GLOBAL_BATCH_SIZE,
        _LEARNING_RATE,
        _LOSS,
        common.AUGMENT,
        _PRECISION,
        execution_flags.MAX_HOURS,
    ),
    rare=(
        _OPTIMIZER,
        _WEIGHT_DECAY,
        _SCHEDULE,
        _LABEL_SMOOTHING,
        _SAMPLING,
        _SWA_EPOCHS,
        _SWA_UPDATE_BN,
        _EMA_MOMENTUM,
        _TOP_K,
        _FROZEN_EPOCHS,
        _ACCUMULATION,
        _CLIP_NORM,
        _BATCH_NORM_MOMENTUM,
        _DETERMINISTIC,
        _JIT,
        *execution_flags.RARE,
    ),
    meanings={
        "seed": "`Seed` of the first weights, the order of the images, augmentation "
        "and dropout.",
    },
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
    return execution_flags.execution(flagfile=command.as_flagfile(GROUPS))
