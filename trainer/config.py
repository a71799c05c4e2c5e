"""Configurations of the training commands. Imports neither TensorFlow nor absl."""

import dataclasses
import pathlib
import re
from typing import Annotated
from typing import Literal

from data_prep.config import Placement
from data_prep.core.errors import ConfigError
from data_prep.core.ranges import Range
from data_prep.core.ranges import check_ranges

# Fields that the config.json of earlier versions lacks, and what those versions did.
ADDED = {"fused": True, "best_by": "auto"}
_ADDRESS = re.compile(r"grpc://[A-Za-z0-9._-]+:[0-9]{1,5}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything except the dataset's bytes that decides the weights of a run.

    Attributes:
      model: spec of the network, see trainer/models/registry.py.
      encoder_weights: initial weights of the encoder, see
        trainer/models/weights/pretrained.py.
      init_from: run folder that the whole network is initialised from, or ''.
      fold: index of the validation fold; all other folds are trained on.
      seed: seed of initial weights, order of images, augmentation and dropout.
      epochs: number of training epochs, each followed by a validation.
      global_batch_size: number of images per update, over all replicas.
      optimizer: name of the update rule, see trainer/optim/optimizers.py.
      learning_rate: peak of the schedule.
      weight_decay: decoupled weight decay of AdamW.
      schedule: spec of the learning rate by epoch, see trainer/optim/schedules.py.
      loss: spec of a segmenter's loss, see trainer/optim/losses.py.
      label_smoothing: share of a classifier's label that is moved to even odds.
      augment: spec or name of the augmentation recipe, see trainer/augment/recipe.py.
      sampling: spec of the images in an epoch, see trainer/input/sampling.py.
      swa_epochs: number of last epochs whose weights are averaged; 0 means none.
      swa_update_bn: whether batch norm's statistics are re-estimated for the average.
      ema_momentum: momentum of the moving average of the weights; 0 means none.
      best_by: validation score that ranks epochs for `best`, `top_k` and the schedule
        plateau, see trainer/validation/scores.py; "auto" is tuned_dice of a segmenter
        and auc of a classifier.
      top_k: number of best epochs whose weights are kept.
      frozen_epochs: number of first epochs in which the encoder is not trained.
      accumulation: number of parts that a replica splits its batch into.
      clip_norm: maximum norm of the gradient; 0 means no clipping.
      jit: whether XLA compiles the forward and backward pass, which changes rounding.
      fused: whether the faster layers of trainer/models/fused/ and the fused Adam are
        used, which round otherwise than Keras's.
      batch_norm_momentum: momentum of the moving statistics; 0.99 averages over
        about a hundred steps.
      precision: Keras dtype policy.
      deterministic: whether ops are bitwise reproducible, which may slow a GPU down;
        None means where no GPU is used. A run stores what that came to.
    """

    model: str = "uefficientnetpp(encoder=b4)"
    encoder_weights: str = "none"
    init_from: str = ""
    fold: Annotated[int, Range(at_least=0)] = 0
    seed: int
    epochs: Annotated[int, Range(at_least=1)] = 70
    global_batch_size: Annotated[int, Range(at_least=1)] = 16
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Range(at_least=0)] = 1e-3
    weight_decay: Annotated[float, Range(at_least=0)] = 1e-4
    schedule: str = "cosine"
    loss: str = "bce(1)+dice(1)"
    label_smoothing: Annotated[float, Range(at_least=0, below=1)] = 0.0
    augment: str
    sampling: str = "natural"
    swa_epochs: Annotated[int, Range(at_least=0)] = 3
    swa_update_bn: bool = True
    ema_momentum: Annotated[float, Range(at_least=0, below=1)] = 0.0
    best_by: Literal[
        "auto", "tuned_dice", "dice", "dice_positive", "pixel_ap", "auc", "loss"
    ] = "auto"
    top_k: Annotated[int, Range(at_least=1)] = 1
    frozen_epochs: Annotated[int, Range(at_least=0)] = 0
    accumulation: Annotated[int, Range(at_least=1)] = 1
    clip_norm: Annotated[float, Range(at_least=0)] = 0.0
    jit: bool = False
    fused: bool = True
    batch_norm_momentum: Annotated[float, Range(at_least=0, at_most=1)] = 0.99
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    deterministic: bool | None = None

    def __post_init__(self):
        check_ranges(self)
        for name in ("swa_epochs", "frozen_epochs"):
            if getattr(self, name) > self.epochs:
                raise ConfigError(
                    f"Expected {name} of at most epochs. Received: "
                    f"{name}={getattr(self, name)}, epochs={self.epochs}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how a run is executed; nothing here changes the trained weights.

    Attributes:
      data: dataset folder of one size.
      workdir: run folder to write.
      strategy: which devices train, see trainer/distributed/runtime.py.
      steps_per_call: number of steps in one call of the tf.function.
      log_every_steps: number of steps after which steps.csv gets a row; 0 means never.
      profile_steps: "first:last", the steps that TensorFlow's profiler traces, counted
        from 1 over the whole run; '' means none.
      max_hours: time after which the run is saved and stopped; 0 means no limit.
      cache: "memory" keeps the training images in memory after the first epoch.
      data_service: grpc://host:port of the tf.data service that makes the training
        batches, or '' for this process.
      augment_on: "host" for the input pipeline, "device" for the training step.
      require_gpu: whether the command fails where no GPU is used.
      flagfile: text of a flagfile that replays the run.
    """

    data: pathlib.Path
    workdir: pathlib.Path
    strategy: Literal["auto", "single", "mirrored", "multi_worker"] = "auto"
    steps_per_call: Annotated[int, Range(at_least=1)] = 8
    log_every_steps: Annotated[int, Range(at_least=0)] = 50
    profile_steps: str = ""
    max_hours: Annotated[float, Range(at_least=0)] = 0.0
    cache: Literal["none", "memory"] = "none"
    data_service: str = ""
    augment_on: Literal["host", "device"] = "host"
    require_gpu: bool
    flagfile: str

    def __post_init__(self):
        check_ranges(self)
        first, last = self.profiled_steps or (1, 1)
        if not 1 <= first <= last:
            raise ConfigError(
                "Expected profile_steps as first:last, counted from 1, such as "
                f"100:110. Received: profile_steps={self.profile_steps!r}"
            )
        if self.data_service and not _ADDRESS.fullmatch(self.data_service):
            raise ConfigError(
                "Expected data_service as grpc://host:port. Received: "
                f"data_service={self.data_service!r}"
            )
        if self.data_service and self.cache != "none":
            raise ConfigError(
                "Expected cache=none beside a data_service, to which the cache would "
                f"have to be sent. Received: cache={self.cache}"
            )

    @property
    def profiled_steps(self) -> tuple[int, int] | None:
        """First and last step to trace, or None."""
        if not self.profile_steps:
            return None
        match = re.fullmatch(r"(\d+):(\d+)", self.profile_steps)
        return (int(match[1]), int(match[2])) if match else (0, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Training of the members of an ensemble, one after the other or on a cluster.

    Attributes:
      data: dataset folder of one size.
      output: folder for the members' run folders.
      folds: validation folds; empty means all folds of the dataset.
      seeds: seeds that each fold is trained with.
      flagfile: text of a flagfile with the trainer's other flags.
      strategy: as in `Execution`; each member reads it from `flagfile`.
      require_gpu: as in `Execution`; each member reads it from `flagfile`.
      passed_over: lines of the user's flagfile that have no effect.
      gpus_per_member: number of GPUs that each member gets on a cluster; None for one
        where the cluster has GPUs. A member without a GPU gets all cores of a machine.
      placement: where the members train.
    """

    data: pathlib.Path
    output: pathlib.Path
    folds: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    flagfile: str
    strategy: str
    require_gpu: bool
    passed_over: tuple[str, ...]
    gpus_per_member: Annotated[int, Range(at_least=0)] | None = None
    placement: Placement = Placement()

    def __post_init__(self):
        check_ranges(self)
        for name in ("folds", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values) or min(values, default=0) < 0:
                raise ConfigError(
                    f"Expected different numbers from 0 on. Received: {name}={values}"
                )
        if not self.seeds:
            raise ConfigError("Expected one or more seeds. Received: none")
        self._check_cluster()

    def _check_cluster(self) -> None:
        on_cluster, count = bool(self.placement.cluster), self.gpus_per_member
        if count is not None and not on_cluster:
            raise ConfigError(
                "Expected --cluster with --gpus_per_member. Received: "
                f"gpus_per_member={count} alone"
            )
        if on_cluster and self.strategy == "multi_worker":
            raise ConfigError(
                "Expected a --strategy in which each member is one process, with "
                f"--cluster. Received: strategy={self.strategy}"
            )
        if self.strategy == "single" and (count or 0) > 1:
            raise ConfigError(
                "Expected at most one GPU for each member with --strategy=single. "
                f"Received: gpus_per_member={count}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """Picture of images before and after augmentation.

    Attributes:
      data: dataset folder of one size.
      augment: spec or name of the augmentation recipe.
      output: PNG file to write.
      num_images: number of images in a row, each before and after.
      seed: seed of the images and of their augmentation.
    """

    data: pathlib.Path
    augment: str
    output: pathlib.Path
    num_images: Annotated[int, Range(at_least=1)] = 3
    seed: int

    def __post_init__(self):
        check_ranges(self)
        if self.augment in ("", "none"):
            raise ConfigError(
                "Expected ops to preview. Received: "
                f"--augment={self.augment}; name some, or seed_segmentation"
            )
        if self.output.suffix != ".png":
            raise ConfigError(
                "Expected a file that ends in .png. Received: "
                f"--output={self.output}; add the ending"
            )
