"""Model, optimizer and graph functions of one training process."""

import functools
import logging
import pathlib

import numpy as np
import tensorflow as tf

from data_prep.core.errors import ConfigError
from trainer import step
from trainer.augment import compiled
from trainer.augment import recipe
from trainer.augment.compiled import Augment
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.distributed import cluster
from trainer.distributed import runtime
from trainer.distributed.cluster import Cluster
from trainer.input.fold_dataset import FoldDataset
from trainer.models import batch_norm
from trainer.models import encoders
from trainer.models import registry
from trainer.models.weights import pretrained
from trainer.models.weights import transfer
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.optim import schedules
from trainer.optim import swa
from trainer.optim.ema import MovingAverage
from trainer.run import checkpoints
from trainer.run.run_folder import RunFolder
from trainer.run.train_progress import TrainProgress
from trainer.validation.validation import validate


class Session:
    """Everything that is built once: what the loop calls, and what it saves.

    Raises:
      CommandError: a batch that does not divide, or XLA with several devices.
      ConfigError: a spec, or frozen epochs of a model without an encoder.
    """

    def __init__(self, config: TrainConfig, execution: Execution, data: FoldDataset):
        self.config, self.execution, self.data = config, execution, data
        self.loss = losses.parse(config.loss)
        augment = recipe.parse(config.augment)
        on_host = execution.augment_on == "host"
        self.augment = compiled.image_by_image(augment) if on_host else None
        self.augment_in_step = None if on_host else compiled.at_once(augment)
        self.schedule = schedules.parse(config.schedule)
        self.strategy = runtime.start(
            strategy=execution.strategy,
            precision=config.precision,
            seed=config.seed,
            deterministic=config.deterministic,
        )
        self.cluster = Cluster(self.strategy, cluster.place(execution.strategy))
        with self.strategy.scope():
            self.model = registry.build_from_spec(
                config.model, image_size=data.manifest.image_size
            )
            batch_norm.set_up(self.model, momentum=config.batch_norm_momentum)
            self.optimizer = optimizers.build(config, self.model)
            self.moving_average = None
            if config.ema_momentum:
                self.moving_average = MovingAverage(self.model, config.ema_momentum)
        self.encoders = encoders.find(self.model)
        if config.frozen_epochs and not self.encoders:
            raise ConfigError(
                "Expected a model with an encoder. Received: "
                f"frozen_epochs={config.frozen_epochs}, model={config.model!r}"
            )
        self.evaluate = step.make_evaluate(self.strategy, self.model, self.loss)
        # Faults of flags show here, and not after the data has been read.
        self.train(0)

    def train(self, epoch: int):
        """Returns the function that trains steps of a 0-based epoch."""
        return self._train(frozen=epoch < self.config.frozen_epochs)

    @functools.cache  # noqa: B019 - one session lives as long as its process
    def _train(self, *, frozen: bool):
        # Which weights are trained is read when the graph is traced: hence one
        # function for each case, traced while its case is set.
        make = functools.partial(
            step.make_train,
            self.strategy,
            self.model,
            self.optimizer,
            self.loss,
            global_batch_size=self.config.global_batch_size,
            accumulation=self.config.accumulation,
            clip_norm=self.config.clip_norm,
            jit=self.config.jit,
            label_smoothing=self.config.label_smoothing,
            average=self.moving_average,
            augment=self.augment_in_step,
        )
        train = make()

        def with_encoders_set(iterator, num_steps):
            for encoder in self.encoders:
                encoder.trainable = not frozen
            try:
                return train(iterator, num_steps)
            finally:
                for encoder in self.encoders:
                    encoder.trainable = True

        return with_encoders_set

    @property
    def score(self) -> str:
        """What "the best epoch" is judged by, a name of the validation's scores."""
        return "dice" if self.segments else "auc"

    @property
    def segments(self) -> bool:
        """Whether the model outlines, or only tells images apart."""
        return "mask" in self.model.output

    @property
    def variables(self) -> list:
        """All variables whose values decide how training goes on."""
        found = checkpoints.variables_of(self.model, self.optimizer)
        return found + (self.moving_average.variables if self.moving_average else [])

    def restore(self, run: RunFolder) -> TrainProgress:
        """Continues from the newest checkpoint, or begins."""
        found = checkpoints.restore_newest(run.checkpoints, self.variables)
        if found is None:
            return TrainProgress(begun_with=self._begin())
        for variable, value in zip(self.variables, found.variables, strict=True):
            variable.assign(value)
        memory = TrainProgress.of_json(found.memory, found.extra)
        logging.info("continuing after epoch %d, step %d", memory.epoch, memory.step)
        return memory

    def _begin(self) -> dict[str, str]:
        config = self.config
        begun_with = pretrained.load(config.encoder_weights, self.model)
        if config.init_from:
            path = pathlib.Path(config.init_from)
            begun_with |= transfer.load(path, self.model, config.model)
        if self.moving_average:
            self.moving_average.restart()
        return begun_with

    def save(self, run: RunFolder, memory: TrainProgress) -> None:
        """Writes a checkpoint of where the run is."""
        if run.read_only:
            return
        checkpoints.save(
            run.checkpoints,
            (memory.epoch, memory.step),
            self.variables,
            memory.average.sums,
            memory.as_json(),
        )

    def batches(self, augment: Augment | None, first_step: int):
        """Returns an iterator of distributed training batches."""
        data = self.data.training(augment, first_step)
        return iter(self.cluster.distribute(data))

    def validate(self) -> dict[str, float | None]:
        """Scores the model's present weights on the validation fold."""
        return validate(
            self.evaluate,
            self.strategy,
            self.cluster.distribute(self.data.validation()),
            self.cluster,
            num_records=self.data.num_validation,
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns masks [N, S, S, 1] bool at probability 0.5, on one device."""
        logits = self._predict(tf.cast(images, tf.float32))["mask"]
        return logits.numpy() >= 0

    @functools.cached_property
    def _predict(self):
        return tf.function(functools.partial(self.model, training=False))

    def reestimate_batch_norm(self) -> None:
        """Fits moving statistics to weights that were averaged."""
        # Un-augmented, as at prediction; past the last step, so as to be a
        # function of the configuration alone.
        first = self.config.epochs * self.data.steps_per_epoch
        data = self.data.training(recipe.parse("none"), first)
        swa.reestimate_batch_norm(
            self.strategy,
            self.model,
            self.cluster.distribute(data),
            num_batches=min(100, self.data.steps_per_epoch),
        )
