"""Model, data and graph functions of one training process."""

import functools
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
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
from trainer.optim import batch_norm_statistics
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.optim import schedules
from trainer.optim.ema import MovingAverage
from trainer.run import overlay
from trainer.run.run_folder import RunFolder
from trainer.run.train_state import TrainState
from trainer.validation import evaluation_step
from trainer.validation import scores
from trainer.validation.validation import validate


class Trainer:
    """What is built once for a run; trainer/loop.py says in which order it is used.

    Attributes:
      state: what a checkpoint holds.
      data: images to train on and to validate on.
      cluster: the workers of the run.
      schedule: learning rates.
      best_by: the validation score that ranks the epochs of a run that begins now.
      augment: augmentation for the input pipeline; None if the step augments.

    Raises:
      CommandError: a batch that does not divide evenly, or a segmenter of images
        without masks.
      ConfigError: a bad spec, or frozen epochs of a model without an encoder.
    """

    def __init__(self, config: TrainConfig, execution: Execution, data: FoldDataset):
        self.config, self.execution, self.data = config, execution, data
        self._loss = losses.parse(config.loss)
        augment = recipe.parse(config.augment)
        on_host = execution.augment_on == "host"
        self.augment = compiled.image_by_image(augment) if on_host else None
        self._augment_in_step = None if on_host else compiled.at_once(augment)
        self.schedule = schedules.parse(config.schedule)
        self.strategy = runtime.start(config, execution.strategy)
        self.cluster = Cluster(self.strategy, cluster.worker_rank(execution.strategy))
        with self.strategy.scope():
            model = registry.build_from_spec(
                config.model,
                image_size=data.manifest.image_size,
                fused=config.fused,
            )
            batch_norm.set_up(model, momentum=config.batch_norm_momentum)
            optimizer = optimizers.build(config, model)
            ema = None
            if config.ema_momentum:
                ema = MovingAverage(model, config.ema_momentum)
        self.state = TrainState(model, optimizer, ema)
        if self.segments and not data.manifest.has_masks:
            raise CommandError(
                ExitCode.FLAGS,
                f"{data.folder} has labels and no masks, and --model={config.model} "
                "is a segmenter",
                fix="train a classifier, such as --model=densenet169, or convert "
                "images with --rle_csv or --mask_source",
            )
        self._encoders = encoders.find(model)
        if config.frozen_epochs and not self._encoders:
            raise ConfigError(
                "Expected a model with an encoder. Received: "
                f"frozen_epochs={config.frozen_epochs}, model={config.model!r}"
            )
        self._evaluate = evaluation_step.make_evaluate(self.strategy, model, self._loss)
        self.best_by = scores.resolve(config.best_by, segments=self.segments)
        # Bad flags raise here, before any data is read.
        self.train_steps(0)

    @property
    def segments(self) -> bool:
        """Whether the model predicts masks; a classifier only labels images."""
        return "mask" in self.state.model.output

    @property
    def num_steps_done(self) -> int:
        """Number of finished steps of the whole run."""
        progress = self.state.progress
        return progress.epoch * self.data.steps_per_epoch + progress.step

    def restore_or_begin(self, run: RunFolder) -> None:
        """Continues from the newest checkpoint, or loads the initial weights.

        The initial weights are random, then those of a pretrained encoder, then those
        of another run; each replaces what was before it.

        Raises:
          CommandError: the validation fold cannot have the score that ranks epochs.
        """
        if self.state.restore(run.checkpoints):
            progress = self.state.progress
            if not progress.best_by:
                progress.best_by = scores.of_earlier_versions(segments=self.segments)
                logging.info(
                    "this run was begun by an earlier version: %s goes on choosing its "
                    "best epochs",
                    progress.best_by,
                )
            return
        scores.check_exists(
            self.best_by,
            fold=self.config.fold,
            num_positives=self.data.num_validated(1),
            num_negatives=self.data.num_validated(0),
        )
        self.state.progress.best_by = self.best_by
        config, model = self.config, self.state.model
        begun_with = pretrained.load(config.encoder_weights, model)
        if config.init_from:
            path = remote.parse(config.init_from)
            begun_with |= transfer.load(path, model, config.model)
        if self.state.ema:
            self.state.ema.restart()
        self.state.progress.begun_with = begun_with

    def batches(self, augment: Augment | None, first_step: int):
        """Returns an iterator of distributed training batches."""
        return iter(self.cluster.distribute(self.data.training(augment, first_step)))

    def train_steps(self, epoch: int):
        """Returns the function that trains steps of an epoch, counted from 0."""
        return self._train_steps(frozen=epoch < self.config.frozen_epochs)

    @functools.cache  # noqa: B019 - a trainer lives as long as its process
    def _train_steps(self, *, frozen: bool):
        # Tracing reads which weights are trainable: each case has its own function,
        # which is traced while `trainable` is set for it.
        train = step.make_train(
            self.strategy,
            self.state.model,
            self.state.optimizer,
            self._loss,
            self.config,
            ema=self.state.ema,
            augment=self._augment_in_step,
        )

        def with_encoders_set(*args):
            for encoder in self._encoders:
                encoder.trainable = not frozen
            try:
                return train(*args)
            finally:
                for encoder in self._encoders:
                    encoder.trainable = True

        return with_encoders_set

    def validate(self) -> dict[str, Any]:
        """Scores the model's current weights on the validation fold."""
        return validate(
            self._evaluate,
            self.strategy,
            self.cluster.distribute(self.data.validation()),
            self.cluster,
            num_records=self.data.num_validation,
            image_size=self.data.manifest.image_size,
            ids_of=self.data.validation_ids,
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns masks [N, S, S, 1] bool at probability 0.5, on one device."""
        logits = self._predict(tf.cast(images, tf.float32))["mask"]
        return logits.numpy() >= 0

    @functools.cached_property
    def _predict(self):
        return tf.function(functools.partial(self.state.model, training=False))

    @functools.cached_property
    def overlay_images(self) -> tuple[np.ndarray, np.ndarray]:
        """Validation images to draw after each epoch, and their true masks."""
        return overlay.choose(self.data.validation(shared=False))

    def reestimate_batch_norm(self) -> None:
        """Sets batch norm's moving statistics for weights that were averaged.

        They are those of up to 100 batches of the training images, at most an epoch of
        all, whatever --sampling shows the network: positives have other statistics
        than the films that are predicted.
        """
        data = self.data.natural()
        num_batches = min(100, data.steps_per_epoch)
        if data is not self.data:
            logging.info(
                "batch norm is re-estimated on %d batches of all training images, not "
                "of --sampling=%s",
                num_batches,
                self.config.sampling,
            )
        # Not augmented, as at prediction. The batches after the last step depend only
        # on the configuration.
        first_step = self.config.epochs * data.steps_per_epoch
        batches = data.training(recipe.parse("none"), first_step)
        batch_norm_statistics.reestimate(
            self.strategy,
            self.state.model,
            self.cluster.distribute(batches),
            num_batches=num_batches,
        )
