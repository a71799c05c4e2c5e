"""tf.data pipelines: shard files to batches, for training and for evaluation.

The order of training is a pure function of (seed, step): a run continues at any
step with the batches that it would have seen.
"""

import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from trainer.augment.recipe import Recipe

_READERS = 8
_PARALLEL_CALLS = 2

Decode = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def for_training(
    files: Sequence[pathlib.Path],
    decode: Decode,
    augment: Recipe,
    *,
    num_records: int,
    batch_size: int,
    shuffle_buffer: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Returns endless, shuffled, augmented, full batches.

    Every epoch holds each record once, in another order; batches run on across
    the end of an epoch, so that no record is dropped.

    Args:
      files: the shards.
      decode: makes a dict of tensors from [B] serialised records.
      augment: moves "image" and "mask" alike.
      num_records: in all files together.
      batch_size: of the whole step, all replicas together.
      shuffle_buffer: how many serialised records are shuffled among each other.
      seed: decides order and augmentation.
      first_step: number of batches to leave out at the start.
    """
    first_epoch, offset = divmod(first_step * batch_size, num_records)
    names = tf.constant([str(f) for f in files])

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = tf.random.experimental.stateless_fold_in([seed, 0], number)
        shuffled = tf.random.experimental.stateless_shuffle(names, epoch_seed)
        records = tf.data.Dataset.from_tensor_slices(shuffled).interleave(
            tf.data.TFRecordDataset,
            cycle_length=_READERS,
            num_parallel_calls=_PARALLEL_CALLS,
            deterministic=True,
        )

        def shuffle(block: tf.Tensor, members: tf.Tensor) -> tf.Tensor:
            block_seed = tf.random.experimental.stateless_fold_in(epoch_seed, block)
            return tf.random.experimental.stateless_shuffle(members, block_seed)

        # Block by block and not by Dataset.shuffle, whose order also depends on
        # the process's global seed. Still serialised: a large block is cheap.
        return records.batch(shuffle_buffer).enumerate().map(shuffle).unbatch()

    def prepare(step: tf.Tensor, records: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = decode(records)
        step_seed = tf.random.experimental.stateless_fold_in([seed, 1], step)
        image, mask = augment(batch["image"], batch["mask"], step_seed)
        return {"image": image, "mask": mask, "label": batch["label"]}

    data = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch)
    data = data.skip(offset).batch(batch_size, drop_remainder=True)
    data = data.enumerate(first_step)
    data = data.map(prepare, num_parallel_calls=_PARALLEL_CALLS, deterministic=True)
    return _unsharded(data.prefetch(2))


def for_evaluation(
    files: Sequence[pathlib.Path], decode: Decode, *, num_records: int, batch_size: int
) -> tf.data.Dataset:
    """Returns all records once, in the order of the files, in full batches.

    The last batch is filled up; "valid" [B] bool is False for the filling.
    """
    names = [str(f) for f in files]
    data = tf.data.Dataset.from_tensor_slices(names).flat_map(tf.data.TFRecordDataset)
    filling = data.take(1).repeat(-num_records % batch_size)
    data = data.concatenate(filling).enumerate().batch(batch_size, drop_remainder=True)

    def prepare(index: tf.Tensor, records: tf.Tensor) -> dict[str, tf.Tensor]:
        return decode(records) | {"valid": index < num_records}

    data = data.map(prepare, num_parallel_calls=_PARALLEL_CALLS, deterministic=True)
    return _unsharded(data.prefetch(2))


def _unsharded(data: tf.data.Dataset) -> tf.data.Dataset:
    """Tells tf.distribute to split batches, not files, among replicas."""
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    return data.with_options(options)
