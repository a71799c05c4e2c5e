"""Flags of training that say where and how it is done; none changes its outcome."""

import pathlib

from absl import flags

from flags import common
from trainer.config import Execution

WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Run `folder` to write: weights, scores, curves. If it holds an interrupted run of "
    "the same flags, that goes on.",
)
MAX_HOURS = flags.DEFINE_float(
    "max_hours",
    0.0,
    "How many `hours` to train before the run is saved and stopped, with exit code 75; "
    "0 for no limit.",
    lower_bound=0,
)
STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    ["auto", "single", "mirrored", "multi_worker"],
    "Which devices train: single the first one; mirrored all GPUs, or the CPU where "
    "there is none; multi_worker those of all processes in TF_CONFIG; auto takes "
    "multi_worker where TF_CONFIG is set, single where there is one device, else "
    "mirrored.",
)
STEPS_PER_CALL = flags.DEFINE_integer(
    "steps_per_call",
    8,
    "How many `steps` one call of TensorFlow's graph does; more have less overhead.",
    lower_bound=1,
)
LOG_EVERY_STEPS = flags.DEFINE_integer(
    "log_every_steps",
    50,
    "After how many `steps` loss, gradient norm and speed are written to steps.csv and "
    "to TensorBoard; 0 for never.",
    lower_bound=0,
)
PROFILE_STEPS = flags.DEFINE_string(
    "profile_steps",
    "",
    "`First:last` step to trace with TensorFlow's profiler for TensorBoard, counted "
    "from 1 over the whole run, such as 100:110.",
)
CACHE = flags.DEFINE_enum(
    "cache",
    "none",
    ["none", "memory"],
    "Where training images are kept between epochs: memory reads the files only once, "
    "none leaves it to the system's cache of files.",
)
DATA_SERVICE = flags.DEFINE_string(
    "data_service",
    "",
    "`Address` grpc://host:port of a tf.data service with one worker that makes the "
    "batches, in place of this process.",
)
AUGMENT_ON = flags.DEFINE_enum(
    "augment_on",
    "host",
    ["host", "device"],
    "Where images are augmented, with the same results: host in the input pipeline, "
    "device in the training step.",
)
RARE = (
    common.REQUIRE_GPU,
    STRATEGY,
    STEPS_PER_CALL,
    LOG_EVERY_STEPS,
    PROFILE_STEPS,
    CACHE,
    DATA_SERVICE,
    AUGMENT_ON,
)


def execution(flagfile: str) -> Execution:
    """Returns the flags as one frozen configuration.

    Args:
      flagfile: text that replays the run.
    """
    return Execution(
        data=pathlib.Path(common.required(common.DATA)),
        workdir=pathlib.Path(common.required(WORKDIR)),
        strategy=STRATEGY.value,
        steps_per_call=STEPS_PER_CALL.value,
        log_every_steps=LOG_EVERY_STEPS.value,
        profile_steps=PROFILE_STEPS.value,
        max_hours=MAX_HOURS.value,
        cache=CACHE.value,
        data_service=DATA_SERVICE.value,
        augment_on=AUGMENT_ON.value,
        require_gpu=common.REQUIRE_GPU.value,
        flagfile=flagfile,
    )
