"""Draws images before and after each op of a recipe and after the whole recipe."""

import pathlib

import numpy as np
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.tiles import contact_sheet
from data_prep.dataset import manifest as manifests
from trainer.augment import draws
from trainer.augment import ops
from trainer.augment import recipe
from trainer.augment.recipe import OneOf
from trainer.augment.recipe import Recipe
from trainer.config import PreviewConfig
from trainer.input.records import Decoder


def write(config: PreviewConfig) -> None:
    """Writes the sheet: one row per op, with probability 1, and one for the recipe.

    Raises:
      CommandError: no dataset, no training images in it, or a damaged one.
      ConfigError: the recipe cannot be parsed.
    """
    rows = _rows(recipe.parse(config.augment))
    batch = _images(config.data, config.num_images)
    sheet = _draw(rows, batch["image"], batch["mask"], config.seed)
    # OpenCV's BGR to PNG's RGB.
    encoded = tf.io.encode_png(sheet[..., ::-1]).numpy()
    with durable.atomic_write(config.output) as path:
        path.write_bytes(encoded)


def _rows(whole: Recipe) -> list[tuple[str, Recipe]]:
    all_ops = [op for step in whole.steps for op in step.choices]
    rows = [(ops.describe(op), Recipe((OneOf(1.0, (op,)),))) for op in all_ops]
    # The dict leaves out repetitions of an op.
    return [*dict(rows).items(), ("the whole recipe", whole)]


def _images(folder: pathlib.Path, count: int) -> dict[str, tf.Tensor]:
    """Returns a batch of training images, positives first."""
    manifest = manifests.read(folder)
    shards = manifest.train_shards(list(range(manifest.num_folds)))
    shards = sorted(shards, key=lambda shard: -shard.label)
    if not shards:
        raise CommandError(
            ExitCode.FLAGS,
            f"{folder} has no training images",
            fix="convert a folder with --source",
        )
    num_shards = next(
        (
            k
            for k in range(1, len(shards))
            if sum(shard.num_records for shard in shards[:k]) >= count
        ),
        len(shards),
    )
    manifests.check_shards(folder, shards[:num_shards], to_read=True)
    # TensorFlow reads no files of stores.
    names = list(map(str, manifests.local_files(folder, shards[:num_shards])))
    decode = Decoder.of(manifest, with_mask=manifest.has_masks)
    records = list(tf.data.TFRecordDataset(names).take(count))
    batch = decode(tf.stack(records))
    # A mask without a pixel has no outline.
    return {"mask": tf.zeros_like(batch["image"])} | batch


def _draw(rows, images: tf.Tensor, masks: tf.Tensor, seed: int) -> np.ndarray:
    count = images.shape[0]
    tiles = []
    for index, (label, augment) in enumerate(rows):
        seeds = draws.seeds_of_step(seed, tf.constant(index), count)
        after = augment(images, masks, seeds)
        for k in range(count):
            tiles.append((*_pair(images, masks, k), "before"))
            tiles.append((*_pair(*after, k), label))
    return contact_sheet(tiles, columns=2 * count)


def _pair(images: tf.Tensor, masks: tf.Tensor, k: int):
    return images[k, ..., 0].numpy(), masks[k, ..., 0].numpy()
