"""tf.data pipelines: records to batches, for training and for evaluation.

The order of training is a pure function of (seed, step): a run continues at any
step with the batches that it would have seen, and reads none of those before it.
"""

import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from trainer.augment import draws
from trainer.augment.compiled import Augment
from trainer.input.record_store import RecordSource
from trainer.input.sampling import Sampler

_PARALLEL_CALLS = 4  # More than few cores: a finished one waits for its turn.
_STEPS_AT_ONCE = 32

Decode = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def for_training(
    order: Sampler,
    store: RecordSource,
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
      order: which record is in which place.
      store: has the records.
      augment: changes "image" and "mask" by each image's seed; None delivers the
        seeds as "seed" [B, 2] int32 instead, for whoever augments on the device.
      batch_size: of the whole step, all replicas together.
      seed: decides the augmentation.
      first_step: number of batches to leave out at the start.
      data_service: "grpc://host:port" of a tf.data service that makes the batches;
        empty makes them here. It must have exactly one worker, which reads the same
        files under the same path.
      share: begin and end of the places of each batch to make; all without.
      num_parallel_calls: batches made at a time; it changes none of them.
    """

    begin, end = share or (0, batch_size)

    def numbers(first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Of many steps at once: for one, calling the ops costs more than they do.
        steps = first + tf.range(_STEPS_AT_ONCE, dtype=tf.int64)
        slots = steps[:, tf.newaxis] * batch_size + tf.range(begin, end, dtype=tf.int64)
        found = order.numbers(tf.reshape(slots, [-1]))
        return steps, tf.reshape(found, [-1, end - begin])

    def prepare(step: tf.Tensor, read: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = store.decode(read)
        made = {key: batch[key] for key in ("image", "mask", "label")}
        seeds = draws.seeds_of_step(seed, step, batch_size)[begin:end]
        if augment is None:
            made["seed"] = seeds
        else:
            made["image"], made["mask"] = augment(made["image"], made["mask"], seeds)
        return made | ({"step": step} if data_service else {})

    calls = {"num_parallel_calls": num_parallel_calls, "deterministic": True}
    # Shuffled while they are numbers: nothing is read before its turn.
    last = tf.int64.max - _STEPS_AT_ONCE
    data = tf.data.Dataset.range(first_step, last, _STEPS_AT_ONCE)
    data = data.map(numbers).unbatch()
    data = data.map(lambda step, found: (step, store.read(found)), **calls)
    data = data.map(prepare, **calls)
    if data_service:
        data = _from_service(data, data_service, first_step)
    return _as_it_is(data.prefetch(2))


def _from_service(
    data: tf.data.Dataset, address: str, first_step: int
) -> tf.data.Dataset:
    """Lets a tf.data service make the batches, and insists on their order."""
    data = data.apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.OFF,
            service=address,
            compression=None,  # Grey values of films hardly shrink.
        )
    )

    def check(expected: tf.Tensor, batch: dict[str, tf.Tensor]):
        step = batch.pop("step")
        # Each worker makes all batches, and batches of several come in any order.
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

    The last batch is filled up; "valid" [B] bool is False for the filling. `share`
    is begin and end of the places of each batch to return; all without.
    """
    begin, end = share or (0, batch_size)
    names = [str(f) for f in files]
    data = tf.data.Dataset.from_tensor_slices(names).flat_map(tf.data.TFRecordDataset)
    filling = data.take(1).repeat(-num_records % batch_size)
    data = data.concatenate(filling).enumerate().batch(batch_size, drop_remainder=True)

    def prepare(index: tf.Tensor, records: tf.Tensor) -> dict[str, tf.Tensor]:
        return decode(records[begin:end]) | {"valid": index[begin:end] < num_records}

    data = data.map(prepare, num_parallel_calls=_PARALLEL_CALLS, deterministic=True)
    return _as_it_is(data.prefetch(2))


def _as_it_is(data: tf.data.Dataset) -> tf.data.Dataset:
    """Tells tf.distribute to split batches, not files, and nobody to tune.

    There is nothing to tune: all counts are given. The tuner's thread sleeps twice as
    long each time, and what ends an iterator often waits until it wakes up, for about
    as long as the iterator was in use.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    return data.with_options(options)
