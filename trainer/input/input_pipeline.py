"""tf.data pipelines from records to batches, for training and for evaluation.

The training order is a pure function of (seed, step): a run that resumes at a step
continues with the batches of that step, and reads none of those before it.
"""

import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from trainer.augment import compiled
from trainer.augment import draws
from trainer.augment.compiled import Augment
from trainer.input.record_store import RecordSource
from trainer.input.sampling import Sampler

_PARALLEL_CALLS = 4  # More than two cores: finished calls wait for their turn.
_STEPS_AT_ONCE = 32

Decode = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def for_training(
    order: Sampler,
    source: RecordSource,
    augment: Augment | None,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    data_service: str = "",
    share: tuple[int, int] | None = None,
    num_parallel_calls: int = _PARALLEL_CALLS,
) -> tf.data.Dataset:
    """Returns endless, shuffled, augmented, full batches.

    Args:
      order: maps slots of the run to record indices.
      source: reads and decodes the records.
      augment: changes "image" and "mask", if there is one, by each image's seed; None
        returns the seeds as "seed" [B, 2] int32 instead, to augment on the device.
      batch_size: images in the global batch.
      seed: decides the augmentation.
      first_step: number of batches to skip at the start.
      data_service: "grpc://host:port" of a tf.data service that makes the batches;
        empty makes them in this process. It must have exactly one worker, which reads
        the same files under the same path.
      share: begin and end of the part of each batch to make; None makes all of it.
      num_parallel_calls: number of batches made in parallel; it changes none of them.
    """

    begin, end = share or (0, batch_size)

    def numbers(first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Many steps per call: its overhead exceeds the work of one step.
        steps = first + tf.range(_STEPS_AT_ONCE, dtype=tf.int64)
        slots = steps[:, tf.newaxis] * batch_size + tf.range(begin, end, dtype=tf.int64)
        indices = order.numbers(tf.reshape(slots, [-1]))
        return steps, tf.reshape(indices, [-1, end - begin])

    def prepare(step: tf.Tensor, read: tf.Tensor) -> dict[str, tf.Tensor]:
        decoded = source.decode(read)
        batch = {k: decoded[k] for k in ("image", "mask", "label") if k in decoded}
        seeds = draws.seeds_of_step(seed, step, batch_size)[begin:end]
        if augment is None:
            batch["seed"] = seeds
        else:
            batch = compiled.augmented(batch, augment, seeds)
        return batch | ({"step": step} if data_service else {})

    calls = {"num_parallel_calls": num_parallel_calls, "deterministic": True}
    # Shuffle indices, not records: no shuffle buffer.
    last = tf.int64.max - _STEPS_AT_ONCE
    data = tf.data.Dataset.range(first_step, last, _STEPS_AT_ONCE)
    data = data.map(numbers).unbatch()
    data = data.map(lambda step, indices: (step, source.read(indices)), **calls)
    data = data.map(prepare, **calls)
    if data_service:
        data = _from_service(data, data_service, first_step)
    return _without_autoshard(data.prefetch(2))


def _from_service(
    data: tf.data.Dataset, address: str, first_step: int
) -> tf.data.Dataset:
    """Lets a tf.data service make the batches, and checks their order."""
    data = data.apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.OFF,
            service=address,
            compression=None,  # Grey values of films hardly compress.
        )
    )

    def check(expected: tf.Tensor, batch: dict[str, tf.Tensor]):
        step = batch.pop("step")
        # Each worker makes all batches; batches of several workers arrive in any order.
        in_turn = tf.debugging.assert_equal(
            step, expected, "the tf.data service does not have exactly one worker"
        )
        with tf.control_dependencies([in_turn]):
            return {k: tf.identity(v) for k, v in batch.items()}

    return data.enumerate(first_step).map(check)


def for_evaluation(
    files: Sequence[pathlib.Path],
    decode: Decode,
    *,
    num_records: int,
    batch_size: int,
    share: tuple[int, int] | None = None,
) -> tf.data.Dataset:
    """Returns all records once, in the order of the files, in full batches.

    The first record pads the last batch; "valid" [B] bool is False for padding, and
    "position" [B] int64 counts the records from 0.
    `share` is begin and end of the part of each batch to return; None returns all.
    """
    begin, end = share or (0, batch_size)
    names = [str(f) for f in files]
    data = tf.data.Dataset.from_tensor_slices(names).flat_map(tf.data.TFRecordDataset)
    padding = data.take(1).repeat(-num_records % batch_size)
    data = data.concatenate(padding).enumerate().batch(batch_size, drop_remainder=True)

    def prepare(index: tf.Tensor, records: tf.Tensor) -> dict[str, tf.Tensor]:
        positions = index[begin:end]
        added = {"position": positions, "valid": positions < num_records}
        return decode(records[begin:end]) | added

    data = data.map(prepare, num_parallel_calls=_PARALLEL_CALLS, deterministic=True)
    return _without_autoshard(data.prefetch(2))


def _without_autoshard(data: tf.data.Dataset) -> tf.data.Dataset:
    """Makes tf.distribute split batches, not files, and switches autotuning off.

    All parallelism is fixed, so there is nothing to tune. The autotuner's thread
    doubles its sleep each time, and deleting an iterator often waits until it wakes up,
    for about as long as the iterator was in use.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    return data.with_options(options)
