"""Flags of `python -m trainer.main`."""

import functools

from flags import command
from flags import common
from flags import fields
from flags import preset
from flags.groups import Groups
from trainer.config import Execution
from trainer.config import TrainConfig

# Flags that decide the trained weights, and flags that do not.
_define = functools.partial(fields.define, TrainConfig)
_define_execution = functools.partial(fields.define, Execution)

GROUPS = Groups(
    needed=(
        common.DATA,
        _define_execution(
            "workdir",
            "Run `folder` to write: weights, scores, curves. If it holds an "
            "interrupted run of the same flags, that goes on.",
        ),
    ),
    common=(
        preset.PRESET,
        _define(
            "model",
            "`Network` and its options; python -m trainer.list_models lists the "
            "networks.",
        ),
        _define(
            "encoder_weights",
            "`Weights` that the encoder begins with: none for random ones, imagenet, "
            "noisy-student, nih, or a file.",
        ),
        _define(
            "init_from",
            "Run `folder` whose weights the whole network begins with, as far as they "
            "fit.",
        ),
        _define(
            "fold",
            "`Number` of the fold to validate on, counted from 0; all others are "
            "trained on.",
        ),
        common.SEED,
        _define(
            "epochs",
            "How many `epochs` to train: rounds over the images, each with a "
            "validation.",
        ),
        _define(
            "global_batch_size",
            "How many `images` one update is made from, on all devices together.",
        ),
        _define("learning_rate", "Highest learning `rate` of the schedule."),
        _define(
            "loss",
            "`Sum` of losses with their weights that a segmenter is trained with; a "
            "classifier has its own. See trainer/optim/losses.py.",
        ),
        common.AUGMENT,
        _define(
            "precision",
            "Number format of the computation, as Keras names it; the mixed ones are "
            "faster on many GPUs.",
        ),
        _define_execution(
            "max_hours",
            "How many `hours` to train before the run is saved and stopped, with exit "
            "code 75; 0 for no limit.",
        ),
    ),
    rare=(
        _define("optimizer", "Rule by which the weights are updated."),
        _define(
            "weight_decay",
            "`Share` of each weight that --optimizer=adamw takes away in a step, times "
            "the learning rate.",
        ),
        _define(
            "schedule",
            "`Course` of the learning rate over the epochs, such as "
            "cosine(warmup_epochs=2). See trainer/optim/schedules.py.",
        ),
        _define(
            "label_smoothing",
            "`Share` of a classifier's label that is moved to even odds, from 0 to "
            "below 1, such as 0.05.",
        ),
        _define(
            "sampling",
            "`Choice` of the images of an epoch: natural (all), positives, or their "
            "share from the first epoch to the last, positive_fraction(0.8:0.4) or "
            "positive_fraction(0.8, 0.6, 0.4). See trainer/input/sampling.py.",
        ),
        _define(
            "swa_epochs",
            "How many of the last `epochs` have their weights averaged; 0 for none.",
        ),
        _define(
            "swa_update_bn",
            "Estimate the statistics of batch norm anew for the averaged weights.",
        ),
        _define(
            "ema_momentum",
            "`Momentum` of a moving average of the weights over all steps, such as "
            "0.999; 0 for no such average.",
        ),
        _define(
            "best_by",
            "Score of the validation by which the best epochs are chosen: tuned_dice "
            "by the best rule of inference.tune's grid, dice at probability 0.5, "
            "dice_positive of films with a pneumothorax, pixel_ap, auc or loss; auto "
            "is tuned_dice, and auc for classifiers. Equal scores rank by loss.",
        ),
        _define(
            "top_k",
            "How many `epochs`, the best by validation, have their weights kept.",
        ),
        _define(
            "frozen_epochs",
            "How many of the first `epochs` leave the encoder's weights as they are.",
        ),
        _define(
            "accumulation",
            "How many `parts` each device splits its images into for one update; more "
            "need less memory.",
        ),
        _define("clip_norm", "Upper `bound` of the gradient's norm; 0 for none."),
        _define(
            "batch_norm_momentum",
            "`Momentum` of batch norm's moving statistics, from 0 to 1; with 0.99 they "
            "lag by a hundred steps, and short runs need less.",
        ),
        _define(
            "deterministic",
            "The same flags give the same weights bit by bit on the same devices; "
            "without, a GPU may be faster. auto does so where no GPU is used, and goes "
            "on with an interrupted run as that began.",
        ),
        _define(
            "jit",
            "Compile the forward and the backward pass with XLA; on several devices, "
            "the parts between their all-reduces.",
        ),
        _define(
            "fused",
            "Compute batch norm, instance norm, dropout, swish and Adam with fewer, "
            "faster ops than Keras; the results round otherwise.",
        ),
        common.REQUIRE_GPU,
        _define_execution(
            "strategy",
            "Which devices train: single the first one; mirrored all GPUs, or the CPU "
            "where there is none; multi_worker those of all processes in TF_CONFIG, or "
            "of all tasks of Slurm's srun; auto takes multi_worker where TF_CONFIG is "
            "set, single where there is one device, else mirrored.",
        ),
        _define_execution(
            "steps_per_call",
            "How many `steps` one call of TensorFlow's graph does; more have less "
            "overhead.",
        ),
        _define_execution(
            "log_every_steps",
            "After how many `steps` loss, gradient norm and speed are written to "
            "steps.csv and to TensorBoard; 0 for never.",
        ),
        _define_execution(
            "profile_steps",
            "`First:last` step to trace with TensorFlow's profiler for TensorBoard, "
            "counted from 1 over the whole run, such as 100:110.",
        ),
        _define_execution(
            "cache",
            "Where training images are kept between epochs: memory reads the files "
            "only once, none leaves it to the system's cache of files.",
        ),
        _define_execution(
            "data_service",
            "`Address` grpc://host:port of a tf.data service with one worker that "
            "makes the batches, in place of this process.",
        ),
        _define_execution(
            "augment_on",
            "Where images are augmented, with the same results: host in the input "
            "pipeline, device in the training step.",
        ),
    ),
    meanings={
        "seed": "`Seed` of the first weights, the order of the images, augmentation "
        "and dropout.",
    },
)


def train_config() -> TrainConfig:
    """Returns the flags that decide a run's outcome."""
    return fields.read(TrainConfig, GROUPS)


def execution() -> Execution:
    """Returns the flags that say where and how a run is executed."""
    return fields.read(Execution, GROUPS, flagfile=command.as_flagfile(GROUPS))
