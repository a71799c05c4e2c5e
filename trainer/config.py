"""What decides the outcome of a training run. Imports neither TensorFlow nor absl."""

import dataclasses
import pathlib
import re

from data_prep.core.errors import ConfigError

_ADDRESS = re.compile(r"grpc://[A-Za-z0-9._-]+:[0-9]{1,5}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything, beside the dataset's bytes, that decides one run's weights.

    Attributes:
      model: spec of the network, see trainer/models/registry.py.
      encoder_weights: what the encoder begins with, see
        trainer/models/weights/pretrained.py.
      init_from: run folder whose weights to begin with, or ''.
      fold: the validation fold; every other fold trains.
      seed: decides initial weights, order, augmentation and dropout.
      epochs: rounds of training, each ending with a validation.
      global_batch_size: images a step, all replicas together.
      optimizer: "adam", "adamw" or "sgd".
      learning_rate: the peak.
      weight_decay: of AdamW.
      schedule: spec of the learning rate by epoch.
      loss: spec of the loss.
      label_smoothing: share of a classifier's label moved to even odds.
      augment: spec or name of the augmentation recipe.
      sampling: spec of which images an epoch holds, see trainer/input/sampling.py.
      swa_epochs: of `epochs`, how many last ones are averaged; 0 means none.
      swa_update_bn: whether batch norm is re-estimated for averaged weights.
      ema_momentum: of the moving average of the weights; 0 means none.
      top_k: how many of the best epochs by validation keep their weights.
      frozen_epochs: of `epochs`, how many first ones leave the encoder alone.
      accumulation: parts that a device works its batch off in, with one update.
      clip_norm: upper bound of the gradient's norm; 0 means none.
      jit: whether XLA compiles forward and backward pass; rounds otherwise.
      batch_norm_momentum: of the moving statistics; 0.99 lags a hundred steps.
      precision: Keras dtype policy.
      deterministic: bitwise reproducible ops, at some cost on a GPU.
    """

    model: str
    encoder_weights: str
    init_from: str
    fold: int
    seed: int
    epochs: int
    global_batch_size: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: str
    loss: str
    label_smoothing: float
    augment: str
    sampling: str
    swa_epochs: int
    swa_update_bn: bool
    ema_momentum: float
    top_k: int
    frozen_epochs: int
    accumulation: int
    clip_norm: float
    jit: bool
    batch_norm_momentum: float
    precision: str
    deterministic: bool

    def __post_init__(self):
        for name in ("swa_epochs", "frozen_epochs"):
            if getattr(self, name) > self.epochs:
                raise ConfigError(
                    f"Expected {name} of at most epochs. Received: "
                    f"{name}={getattr(self, name)}, epochs={self.epochs}"
                )
        if not 0 <= self.ema_momentum < 1:
            raise ConfigError(
                "Expected ema_momentum from 0 to below 1. Received: "
                f"ema_momentum={self.ema_momentum}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                "Expected label_smoothing from 0 to below 1. Received: "
                f"label_smoothing={self.label_smoothing}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is carried out; none of it changes what is computed.

    Attributes:
      data: dataset folder of one size.
      workdir: run folder to write.
      strategy: "auto", "single", "mirrored" or "multi_worker", see
        trainer/distributed/runtime.py.
      steps_per_call: steps in one call of the graph.
      log_every_steps: a row of steps.csv is written after so many steps; 0 for none.
      profile_steps: "first:last", steps to trace with TensorFlow's profiler, counted
        from 1 over the whole run; empty for none.
      max_hours: after which to save and stop; 0 means never.
      cache: "none", or "memory" to read the training images from files only once.
      data_service: "grpc://host:port" of the tf.data service that makes the
        training batches; empty where this process does.
      augment_on: "host" for the input pipeline, "device" for the training step.
      require_gpu: whether to stop where a GPU is not used.
      flagfile: text that replays the run.
    """

    data: pathlib.Path
    workdir: pathlib.Path
    strategy: str
    steps_per_call: int
    log_every_steps: int
    profile_steps: str
    max_hours: float
    cache: str
    data_service: str
    augment_on: str
    require_gpu: bool
    flagfile: str

    def __post_init__(self):
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
    """The members of an ensemble that are trained one after the other.

    Attributes:
      data: dataset folder of one size.
      output: folder of the members' run folders.
      folds: validation folds; empty means all of the dataset.
      seeds: every fold is trained with each of them.
      flagfile: text that replays the trainer's other flags.
      strategy: as `Execution`; every member has it from `flagfile`.
      require_gpu: as `Execution`; every member has it from `flagfile`.
      passed_over: flags of the user's flagfile that have no effect, as written in it.
    """

    data: pathlib.Path
    output: pathlib.Path
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    flagfile: str
    strategy: str
    require_gpu: bool
    passed_over: tuple[str, ...]

    def __post_init__(self):
        for name in ("folds", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values) or min(values, default=0) < 0:
                raise ConfigError(
                    f"Expected different numbers from 0 on. Received: {name}={values}"
                )
        if not self.seeds:
            raise ConfigError("Expected one or more seeds. Received: none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """What a sheet of augmented images shows.

    Attributes:
      data: dataset folder of one size.
      augment: spec or name of the augmentation recipe.
      output: PNG file to write.
      num_images: in a row, each before and after.
      seed: decides what is drawn.
    """

    data: pathlib.Path
    augment: str
    output: pathlib.Path
    num_images: int
    seed: int

    def __post_init__(self):
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
