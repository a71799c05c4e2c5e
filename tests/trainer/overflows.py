"""Trains a few steps in which the gradient of chosen images is infinite.

As a program, it does so on four logical CPU devices.
"""

# ruff: noqa: E402 - Keras reads the user's settings when it is first imported.

import sys

from trainer.machine import backend

backend.load()

import keras
import numpy as np
import tensorflow as tf

from tests import fakes
from trainer import step
from trainer.distributed import runtime
from trainer.models import batch_norm
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.optim.ema import MovingAverage

BATCH = 4


# An entry of `batches`: the gradient of the whole batch is 0.
FLAT = "flat"
_MARKS = {FLAT: 8, "infinite": 9}


@tf.custom_gradient
def with_gradient_times(values, factors):
    """Returns `values`; their gradient is multiplied."""
    return values, lambda d: (d * factors, None)


def loss(truth, logits):
    """Cross-entropy whose gradient is infinite or 0 for images with a marked mask."""
    values = losses.parse("bce")(tf.cast(truth == 1, tf.float32), logits)
    mark = tf.reduce_max(truth, axis=[1, 2, 3])
    factors = tf.where(mark == _MARKS["infinite"], np.float32(np.inf), 1.0)
    return with_gradient_times(values, tf.where(mark == _MARKS[FLAT], 0.0, factors))


def batches(spoiled):
    """Yields a batch per entry: the number of its image to spoil, None, or FLAT."""
    rng = np.random.default_rng(0)
    for number in spoiled:
        images = rng.integers(0, 256, (BATCH, 16, 16, 1), np.uint8)
        masks = (images > 200).astype(np.uint8)
        if number == FLAT:
            masks[:, 0, 0] = _MARKS[FLAT]
        elif number is not None:
            masks[number, 0, 0] = _MARKS["infinite"]
        yield {"image": images, "mask": masks}


class Run:
    """A tiny network with all that a step may change.

    Args:
      strategy: trains it.
      precision: dtype policy.
      spoiled: the batches' spoiled images, see `batches`.
      options: replace fields of the configuration.
    """

    def __init__(self, strategy, precision, spoiled, **options):
        self.strategy = strategy
        config = fakes.train_config(
            global_batch_size=BATCH, precision=precision, **options
        )
        keras.utils.set_random_seed(0)
        keras.mixed_precision.set_dtype_policy(precision)
        try:
            with strategy.scope():
                self.model = fakes.build_tiny(image_size=16)
                batch_norm.set_up(self.model, momentum=0.9)
                self.optimizer = optimizers.build(config, self.model)
                self.average = MovingAverage(self.model, 0.5)
        finally:
            keras.mixed_precision.set_dtype_policy("float32")
        self._train = step.make_train(
            strategy, self.model, self.optimizer, loss, config, ema=self.average
        )
        data = tf.data.Dataset.from_tensor_slices(
            tf.nest.map_structure(lambda *b: np.stack(b), *batches(spoiled))
        )
        self._iterator = iter(strategy.experimental_distribute_dataset(data))

    def train(self, num_steps=1) -> step.StepResults:
        return self._train(self._iterator, tf.constant(num_steps))

    def copies(self, *, scaling=False) -> dict[str, list[np.ndarray]]:
        """Returns each replica's copies: of the loss scale, or of all others."""
        found = {}
        # Keras numbers the names of a second optimizer.
        variables = [(v.name, v.value) for v in self.model.variables]
        variables += [(v.name, v.value) for v in self.optimizer.variables]
        variables += [("average", v) for v in self.average.variables]
        for k, (name, variable) in enumerate(variables):
            name = f"{k} {name}"
            if name.endswith(("dynamic_scale", "step_counter")) == scaling:
                local = self.strategy.experimental_local_results(variable)
                found[name] = [v.numpy() for v in local]
        return found

    def scales(self) -> list[float]:
        """Returns each replica's copy of the loss scale."""
        value = self.optimizer.dynamic_scale.value
        return [float(v) for v in self.strategy.experimental_local_results(value)]


def assert_unchanged(run, before, but=()):
    """All copies are those of `before`, but for names that end with `but`."""
    for name, values in run.copies().items():
        if not name.endswith(tuple(but)) or not but:
            for a, b in zip(values, before[name], strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


def assert_copies_agree(run):
    for name, values in (run.copies() | run.copies(scaling=True)).items():
        for value in values:
            np.testing.assert_array_equal(value, values[0], err_msg=name)
            assert np.isfinite(value).all(), name


def check_each_replica(strategy, **options):
    """Float16 overflows on one replica after the other; those steps are skipped."""
    replicas = strategy.num_replicas_in_sync
    firsts = [k * BATCH // replicas for k in range(replicas)]
    spoiled = [None] + [n for first in firsts for n in (first, None)]
    run = Run(strategy, "mixed_float16", spoiled, **options)
    run.train()
    scale = 2.0**15
    for number in spoiled[1:]:
        before = run.copies()
        results = run.train()
        assert np.isfinite(results.losses).all()
        assert results.diverged_at == -1
        assert results.skipped.numpy().tolist() == [number is not None]
        if number is None:
            after = run.copies()
            changed = {k for k in after if (after[k][0] != before[k][0]).any()}
            names = {k.split()[1] for k in changed}
            assert names >= {"kernel", "gamma", "moving_mean", "average", "iteration"}
        else:
            scale /= 2
            assert_unchanged(run, before)
        assert run.scales() == [scale] * replicas
        assert results.loss_scale == scale
        assert_copies_agree(run)
    one_call = Run(strategy, "mixed_float16", spoiled, **options)
    results = one_call.train(len(spoiled))
    assert results.skipped.numpy().tolist() == [n is not None for n in spoiled]
    assert_unchanged(one_call, run.copies())


def main() -> None:
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 4
    )
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    strategy = runtime.mirrored(*devices)
    assert strategy.num_replicas_in_sync == 4
    check_each_replica(strategy, optimizer="adam", clip_norm=0.1)


if __name__ == "__main__":
    sys.exit(main())
