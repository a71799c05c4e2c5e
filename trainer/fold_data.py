"""The images that one run trains on, and those that it is validated on."""

import pathlib

import tensorflow as tf

from data_prep import manifest as manifests
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from trainer import input_pipeline
from trainer.augment.recipe import Recipe
from trainer.config import TrainConfig
from trainer.records import Decoder


class FoldData:
    """The training and validation shards of one fold."""

    def __init__(self, config: TrainConfig, folder: pathlib.Path):
        self.config, self.folder = config, folder
        self.manifest = manifest = manifests.read(folder)
        manifest.check_folds([config.fold])
        others = [f for f in range(manifest.num_folds) if f != config.fold]
        self.train_shards = manifest.train_shards(others)
        self.validation_shards = manifest.train_shards([config.fold])
        self.num_train = sum(s.num_records for s in self.train_shards)
        self.num_validation = sum(s.num_records for s in self.validation_shards)
        self.steps_per_epoch = self.num_train // config.global_batch_size
        if not self.steps_per_epoch or not self.num_validation:
            raise Failure(
                ExitCode.FLAGS,
                f"fold {config.fold} leaves {self.num_train} images to train and "
                f"{self.num_validation} to validate, the batch has "
                f"{config.global_batch_size}",
                mend="choose a smaller --global_batch_size or convert more images",
            )

    def check(self) -> None:
        """Raises a Failure unless every shard holds the bytes it was made with."""
        manifests.check_shards(self.folder, self.train_shards + self.validation_shards)

    def training(self, augment: Recipe, first_step: int) -> tf.data.Dataset:
        """Returns the endless batches from `first_step` on."""
        return input_pipeline.for_training(
            self._files(self.train_shards),
            self._decoder(),
            augment,
            num_records=self.num_train,
            batch_size=self.config.global_batch_size,
            shuffle_buffer=self.config.shuffle_buffer,
            seed=self.config.seed,
            first_step=first_step,
        )

    def validation(self) -> tf.data.Dataset:
        """Returns every validation image once, in padded batches."""
        return input_pipeline.for_evaluation(
            self._files(self.validation_shards),
            self._decoder(),
            num_records=self.num_validation,
            batch_size=self.config.global_batch_size,
        )

    def _files(self, shards) -> list[pathlib.Path]:
        return [self.folder / s.name for s in shards]

    def _decoder(self) -> Decoder:
        return Decoder(
            image_size=self.manifest.image_size,
            pixel_encoding=self.manifest.options["pixel_encoding"],
            with_mask=True,
        )
