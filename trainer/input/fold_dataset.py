"""The training and validation images of one run."""

import dataclasses
import functools
import pathlib
import socket
import urllib.parse
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset.shards import Shard
from trainer.augment.compiled import Augment
from trainer.config import TrainConfig
from trainer.distributed.cluster import SINGLE
from trainer.distributed.cluster import WorkerRank
from trainer.input import input_pipeline
from trainer.input import record_store
from trainer.input import sampling
from trainer.input.records import Decoder

_CLASSES = {sampling.POSITIVE: "with", sampling.NEGATIVE: "without"}
_CONNECT_S = 5.0


class FoldDataset:
    """The training and validation shards of one fold.

    Validation covers all images of its fold, whatever training samples, so that scores
    of runs are comparable; "dice_positive" judges a segmenter of positives.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: pathlib.Path,
        *,
        cache: str = "none",
        data_service: str = "",
        rank: WorkerRank = SINGLE,
    ):
        """Chooses the shards and the order of training images.

        Args:
          config: the run's.
          folder: the dataset's.
          cache: "none" to read files in every epoch, "memory" to read them once.
          data_service: address of a tf.data service, or empty.
          rank: this process's rank among those that share each batch.

        Raises:
          CommandError: the fold does not exist, the other folds lack a class that the
            sampling needs, or there are too few images for one batch.
        """
        self.config, self.folder, self._rank = config, folder, rank
        self.cache, self.data_service = cache, data_service
        self.share = rank.share(config.global_batch_size)
        self.manifest = manifest = manifests.read(folder)
        manifest.check_folds([config.fold])
        folds = [f for f in range(manifest.num_folds) if f != config.fold]
        self.validation_shards = manifest.train_shards([config.fold])
        self.num_validation = sum(s.num_records for s in self.validation_shards)
        sampled = sampling.parse(config.sampling)
        shards = manifest.train_shards(folds)
        self.train_shards = [s for s in shards if s.label in sampled.takes]
        self.num_train = sum(s.num_records for s in self.train_shards)
        by_label = {label: self._numbers(label) for label in _CLASSES}
        for label in sampled.needs:
            if not len(by_label[label]):
                raise CommandError(
                    ExitCode.FLAGS,
                    f"folds {folds} hold no image {_CLASSES[label]} a pneumothorax, "
                    f"which --sampling={config.sampling} needs",
                    fix="give --sampling=natural or convert more images",
                )
        self.order = sampled.order(
            sampling.Request(
                positives=by_label[sampling.POSITIVE],
                negatives=by_label[sampling.NEGATIVE],
                epochs=config.epochs,
                batch_size=config.global_batch_size,
                seed=config.seed,
            )
        )
        self.steps_per_epoch = self.order.steps_per_epoch
        if not self.steps_per_epoch or not self.num_validation:
            raise CommandError(
                ExitCode.FLAGS,
                f"fold {config.fold} leaves {self.num_train} images to train and "
                f"{self.num_validation} to validate, the batch has "
                f"{config.global_batch_size}",
                fix="choose a smaller --global_batch_size or convert more images",
            )

    def check(self) -> None:
        """Raises a CommandError unless all shards have the manifest's checksums."""
        # In the end all of them are read, for batch norm and for the guard.
        shards = self.natural().train_shards
        manifests.check_shards(
            self.folder, shards + self.validation_shards, to_read=True
        )

    def natural(self) -> "FoldDataset":
        """Returns this fold with every training image equally often.

        Nothing of it is cached, unless the run itself samples like that.
        """
        if self.config.sampling == sampling.NATURAL:
            return self
        return FoldDataset(
            dataclasses.replace(self.config, sampling=sampling.NATURAL),
            self.folder,
            data_service=self.data_service,
            rank=self._rank,
        )

    def training(self, augment: Augment | None, first_step: int) -> tf.data.Dataset:
        """Returns endless batches from `first_step` on; see for_training.

        Raises:
          CommandError: no tf.data service answers at its address.
        """
        if self.data_service:
            _check_answers(self.data_service)
        return input_pipeline.for_training(
            self.order,
            self._source,
            augment,
            batch_size=self.config.global_batch_size,
            seed=self.config.seed,
            first_step=first_step,
            data_service=self.data_service,
            share=self.share,
        )

    def image_ids(self, step: int) -> list[str]:
        """Returns the ids of the images of a training step, counted from 0."""
        size = self.config.global_batch_size
        slots = step * size + tf.range(size, dtype=tf.int64)
        return self._ids(self.train_shards, self.order.numbers(slots))

    def validation_ids(self, positions: np.ndarray) -> list[str]:
        """Returns the ids of the images at [N] positions of the validation fold."""
        numbers = tf.constant(positions, tf.int64)
        return self._ids(self.validation_shards, numbers)

    def films(
        self, numbers: np.ndarray, *, batch_size: int, validation: bool
    ) -> Iterator[tf.Tensor]:
        """Yields some images as they are stored, [B, S, S, 1] uint8.

        Args:
          numbers: positions among the training or the validation images.
          batch_size: B, but for the last batch.
          validation: whether they are of the validation fold.
        """
        shards = self.validation_shards if validation else self.train_shards
        source = record_store.RandomAccessSource(self.folder, shards, self._decoder)
        for first in range(0, len(numbers), batch_size):
            batch = tf.constant(numbers[first : first + batch_size], tf.int64)
            yield self._decoder(source.read(batch))["image"]

    def num_validated(self, label: int) -> int:
        """Returns the number of validation images with a label."""
        shards = [s for s in self.validation_shards if s.label == label]
        return sum(s.num_records for s in shards)

    def _ids(self, shards: list[Shard], numbers: tf.Tensor) -> list[str]:
        source = record_store.RandomAccessSource(self.folder, shards, self._decoder)
        batch = self._decoder(source.read(numbers))
        return [image_id.decode() for image_id in batch["id"].numpy()]

    def validation(self, *, shared: bool = True) -> tf.data.Dataset:
        """Returns every validation image once, in padded batches.

        Args:
          shared: whether to return only this process's share of each batch.
        """
        return input_pipeline.for_evaluation(
            manifests.local_files(self.folder, self.validation_shards),
            self._decoder,
            num_records=self.num_validation,
            batch_size=self.config.global_batch_size,
            share=self.share if shared else None,
        )

    def _numbers(self, label: int) -> np.ndarray:
        """Returns the indices of the training records of one class."""
        labels = [s.label for s in self.train_shards]
        counts = [s.num_records for s in self.train_shards]
        return np.flatnonzero(np.repeat(labels, counts) == label)

    @functools.cached_property
    def _source(self) -> record_store.RecordSource:
        source = record_store.RandomAccessSource(
            self.folder, self.train_shards, self._decoder
        )
        if self.cache == "none":
            return source
        try:
            return record_store.CachedSource(source, self._decoder)
        except tf.errors.ResourceExhaustedError as e:
            # The memory of the host, which a smaller batch would not spare.
            raise MemoryError(f"{self.num_train} images to keep") from e

    @functools.cached_property
    def _decoder(self) -> Decoder:
        return Decoder.of(self.manifest, with_mask=self.manifest.has_masks)


def _check_answers(address: str) -> None:
    """Fails within seconds where TensorFlow would retry for hours."""
    url = urllib.parse.urlsplit(address)
    try:
        socket.create_connection((url.hostname, url.port), _CONNECT_S).close()
    except OSError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"no tf.data service answers at {address} ({e.strerror or e})",
            fix="start its dispatcher or leave out --data_service",
        ) from e
