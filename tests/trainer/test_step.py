"""The training step: one device and two have the same losses and weights."""

import dataclasses
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.core.errors import CommandError
from tests import fakes
from trainer import step
from trainer.augment import compiled
from trainer.augment import draws
from trainer.augment import recipe
from trainer.distributed import runtime
from trainer.models import batch_norm
from trainer.models import registry
from trainer.models import vae_cnn
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.optim.ema import MovingAverage

BATCH = 4


RECIPE = recipe.parse("hflip(p=0.5)|oneof(gamma, brightness)|rotation|smoothing(1, 4)")


def augmented(data, where):
    """Adds seeds, and augments if `where` is the host."""
    if where is None:
        return data

    def prepare(step, batch):
        seeds = draws.seeds_of_step(3, step, BATCH)
        if where == "device":
            return batch | {"seed": seeds}
        image, mask = compiled.image_by_image(RECIPE)(
            batch["image"], batch["mask"], seeds
        )
        return {"image": image, "mask": mask}

    return data.enumerate().map(prepare)


def batches(count):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count * BATCH, 32, 32, 1), np.uint8)
    data = {"image": images, "mask": (images > 200).astype(np.uint8)}
    return tf.data.Dataset.from_tensor_slices(data).batch(BATCH, drop_remainder=True)


@dataclasses.dataclass
class Trained:
    losses: np.ndarray
    weights: list[np.ndarray]
    before: list[np.ndarray]
    waits: np.ndarray
    average: MovingAverage
    model: keras.Model
    norms: list[float]


def train(
    strategy,
    model_text,
    steps=6,
    precision="float32",
    steps_per_call=3,
    loss=None,
    data=None,
    augment_on=None,
    with_norm=False,
    with_waits=True,
    **options,
):
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        with strategy.scope():
            model = registry.build_from_spec(model_text, image_size=32)
            batch_norm.set_up(model, momentum=0.9)
            optimizer = optimizers.SGD(0.01, momentum=0.9)
            if precision == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(model.trainable_variables)
            average = MovingAverage(model, 0.5)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    before = [w.numpy() for w in model.weights]
    run = step.make_train(
        strategy,
        model,
        optimizer,
        loss or losses.parse("bce+dice"),
        fakes.train_config(global_batch_size=BATCH, **options),
        ema=average,
        augment=compiled.at_once(RECIPE) if augment_on == "device" else None,
    )
    data = batches(steps) if data is None else data
    data = augmented(data, augment_on)
    data = iter(strategy.experimental_distribute_dataset(data))
    results = [
        run(data, tf.constant(steps_per_call), with_norm, next_of(with_waits))
        for _ in range(steps // steps_per_call)
    ]
    return Trained(
        np.concatenate([r.losses for r in results]),
        [w.numpy() for w in model.weights],
        before,
        np.concatenate([r.waits for r in results]),
        average,
        model,
        [float(r.gradient_norm) for r in results],
    )


def next_of(value):
    return value() if callable(value) else value


def single():
    return tf.distribute.get_strategy()


def mirrored():
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    return runtime.mirrored(*devices)


VAE = "vae_cnn(start_filters=8, latent_size=4, dropout=0)"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny", VAE], ids=["tiny", "losses of layers"])
def test_one_device_equals_two(model, monkeypatch):
    """In graphs; for networks on EfficientNet see models/test_contract.py."""
    monkeypatch.setattr(vae_cnn, "REPEATS", (1, 1, 1, 1))
    monkeypatch.setattr(
        keras.random, "normal", lambda shape, dtype, seed: tf.zeros(shape, dtype)
    )
    steps = 20 if model == "tiny" else 2
    one = train(single(), model, steps, steps_per_call=2)
    two = train(mirrored(), model, steps, steps_per_call=2)
    assert_equal(two, one)
    assert one.losses[0] > 0


def assert_equal(two, one):
    np.testing.assert_allclose(two.losses, one.losses, atol=1e-5)
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_augmenting_on_host_equals_device_and_two_devices():
    plain = train(single(), "tiny")
    host = train(single(), "tiny", augment_on="host")
    assert np.abs(host.losses - plain.losses).min() > 1e-4
    device = train(single(), "tiny", augment_on="device")
    np.testing.assert_array_equal(device.losses, host.losses)
    assert_equal(train(mirrored(), "tiny", augment_on="device"), host)


@pytest.mark.slow
def test_dropout_and_float16_train_on_two_devices():
    trained = train(mirrored(), "tiny(dropout=0.3)", precision="mixed_float16")
    assert trained.losses[-1] < trained.losses[0]
    assert all(np.isfinite(w).all() for w in trained.weights)


@pytest.mark.slow
def test_steps_per_call_do_not_change_the_outcome():
    one = train(single(), "tiny", steps_per_call=1)
    three = train(single(), "tiny", steps_per_call=3)
    for a, b in zip(one.weights, three.weights, strict=True):
        np.testing.assert_array_equal(a, b)


PLAIN = "tiny(batch_norm=false)"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_accumulated_parts_equal_the_whole(devices):
    """Without batch norm, whose statistics are taken over each part."""
    whole = train(single(), PLAIN)
    strategy = single() if devices == 1 else mirrored()
    assert_equal(train(strategy, PLAIN, accumulation=2), whole)


@pytest.mark.slow
def test_accumulation_on_two_devices_equals_the_whole_over_20_steps():
    options = {"steps": 20, "steps_per_call": 5}
    whole = train(single(), PLAIN, **options)
    assert_equal(train(mirrored(), PLAIN, accumulation=2, **options), whole)


@pytest.mark.slow
def test_accumulation_trains_batch_norm():
    trained = train(mirrored(), "tiny", accumulation=2)
    assert trained.losses[-1] < trained.losses[0]
    # Statistics of a part differ from those of the batch, for images of noise a little.
    assert np.abs(trained.losses - train(single(), "tiny").losses).max() > 5e-5
    assert_equal(train(single(), "tiny", accumulation=2, data=regrouped(6)), trained)


def regrouped(steps):
    """Batches in the order in which two replicas with two parts see the images."""
    order = [0, 2, 1, 3]
    return batches(steps).map(
        lambda batch: {k: tf.gather(v, order) for k, v in batch.items()}
    )


@pytest.mark.slow
def test_clipping_bounds_the_whole_gradient():
    bound = 1e-3
    one = train(single(), PLAIN, steps=1, steps_per_call=1, clip_norm=bound)
    moved = [a - b for a, b in zip(one.weights, one.before, strict=True)]
    norm = np.sqrt(sum((m**2).sum() for m in moved))
    assert norm == pytest.approx(0.01 * bound, rel=1e-3)
    assert_equal(
        train(mirrored(), "tiny", clip_norm=bound),
        train(single(), "tiny", clip_norm=bound),
    )
    free = train(single(), PLAIN)
    assert_equal(train(single(), PLAIN, clip_norm=1e6), free)


@pytest.mark.slow
def test_clipping_divides_by_the_loss_scale():
    half = train(mirrored(), PLAIN, precision="mixed_float16", clip_norm=1e-3)
    full = train(mirrored(), PLAIN, clip_norm=1e-3)
    for a, b, before in zip(half.weights, full.weights, full.before, strict=True):
        np.testing.assert_allclose(a - before, b - before, rtol=0.05, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_norm_is_that_of_the_last_steps_gradient(devices, precision):
    """SGD's first step moves the weights by the learning rate times the gradient."""
    strategy = single() if devices == 1 else mirrored()
    options = {"precision": precision, "steps_per_call": 1}
    one = train(strategy, PLAIN, steps=1, with_norm=tf.constant(True), **options)
    moved = [a - b for a, b in zip(one.weights, one.before, strict=True)]
    norm = np.sqrt(sum((m**2).sum() for m in moved)) / 0.01
    assert one.norms == pytest.approx([norm], rel=1e-3)
    two = train(strategy, PLAIN, steps=2, with_norm=tf.constant(True), **options)
    assert two.norms[0] == one.norms[0] != two.norms[1]
    both = options | {"steps_per_call": 2}
    called = train(strategy, PLAIN, steps=2, with_norm=tf.constant(True), **both)
    assert called.norms == two.norms[1:]
    # Clipping bounds the update, and not the norm that is returned.
    clipped = train(strategy, PLAIN, steps=1, clip_norm=1e-3, **options)
    assert clipped.norms == one.norms
    assert np.isnan(train(strategy, PLAIN, steps=1, **options).norms).all()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"accumulation": 2}], ids=["", "parts"])
@pytest.mark.parametrize("devices", [1, 2])
def test_norm_changes_no_bit_of_the_weights(devices, options):
    strategy = single() if devices == 1 else mirrored()
    plain, *normed = (
        train(strategy, "tiny", with_norm=with_norm, **options)
        for with_norm in (False, tf.constant(False), tf.constant(True))
    )
    for other in normed:
        np.testing.assert_array_equal(other.losses, plain.losses)
        for a, b in zip(other.weights, plain.weights, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_compiled_by_xla_it_is_the_same(monkeypatch):
    jit_options, function = [], tf.function

    def spy(*args, **options):
        jit_options.append(options.get("jit_compile"))
        return function(*args, **options)

    monkeypatch.setattr(tf, "function", spy)
    plain = train(single(), "tiny")
    # Keras compiles some functions in either case.
    num_by_keras = jit_options.count(True)
    jit_options.clear()
    assert_equal(train(single(), "tiny", jit=True), plain)
    assert jit_options.count(True) > num_by_keras


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"accumulation": 2}], ids=["", "parts"])
def test_on_two_devices_xla_compiles_what_is_between_all_reduces(options, monkeypatch):
    """With batch norm, whose all-reduces XLA cannot compile."""
    scopes, scope = [], tf.xla.experimental.jit_scope
    monkeypatch.setattr(
        tf.xla.experimental, "jit_scope", lambda: scopes.append(0) or scope()
    )
    plain = train(mirrored(), "tiny", **options)
    assert not scopes
    assert_equal(train(mirrored(), "tiny", jit=True, **options), plain)
    assert len(scopes) >= 2 * options.get("accumulation", 1)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_loss_that_is_not_finite_changes_no_weight(devices):
    def poison(index, batch):
        # The last image belongs to the second device.
        mask = batch["mask"] + tf.cast(index == 3, tf.uint8) * tf.reshape(
            tf.constant([0, 0, 0, 9], tf.uint8), [4, 1, 1, 1]
        )
        return batch | {"mask": mask}

    def loss(truth, logits):
        value = losses.parse("bce")(truth, logits)
        poisoned = tf.reduce_max(truth, axis=[1, 2, 3]) > 2
        return tf.where(poisoned, np.nan, value)

    strategy = single() if devices == 1 else mirrored()
    data = batches(6).enumerate().map(poison)
    stopped = train(strategy, "tiny", loss=loss, data=data, steps_per_call=6)
    assert np.isfinite(stopped.losses).tolist() == [True] * 3 + [False] + [True] * 2
    short = train(strategy, "tiny", steps=3, loss=losses.parse("bce"))
    kernels = [k for k, w in enumerate(stopped.model.weights) if w.trainable]
    for k in kernels:
        np.testing.assert_array_equal(stopped.weights[k], short.weights[k])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_moving_average(devices):
    strategy = single() if devices == 1 else mirrored()
    expected = None
    for count in range(1, 4):
        trained = train(strategy, "tiny", steps=count, steps_per_call=count)
        now = [w.numpy() for w in trained.model.trainable_variables]
        if expected is None:
            expected = [w.numpy() for w in trained.average.means]
            start = trained.before[0]
            np.testing.assert_allclose(
                expected[0], start + 0.9 * (now[0] - start), rtol=1e-5
            )
            continue
        share = 1 - min(0.5, count / (9 + count))
        expected = [e + share * (n - e) for e, n in zip(expected, now, strict=True)]
    assert len(trained.average.variables) == len(now) + 1
    trained.average.assign_to(trained.model)
    for weight, mean in zip(trained.model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), mean, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_waiting_for_input_is_measured():
    def slow(batch):
        def wait(image):
            time.sleep(0.2)
            return image

        image = tf.numpy_function(wait, [batch["image"]], tf.uint8)
        return batch | {"image": tf.ensure_shape(image, batch["image"].shape)}

    data, asked = batches(3).map(slow), tf.constant(True)
    trained = train(single(), "tiny", steps=3, data=data, with_waits=asked)
    assert trained.waits.shape == (3,)
    assert trained.waits.max() > 0.1
    assert (trained.waits >= 0).all()


def test_the_clock_runs_only_when_asked(monkeypatch):
    calls, clock = [], step._clock
    monkeypatch.setattr(step, "_clock", lambda: calls.append(0) or clock())
    asked = iter([tf.constant(False), tf.constant(True), tf.constant(False)])
    trained = train(
        single(), "tiny", steps=6, steps_per_call=2, with_waits=lambda: next(asked)
    )
    # Twice a step, in one of three calls of one graph.
    assert len(calls) == 4
    assert np.isnan(trained.waits).tolist() == [True] * 2 + [False] * 2 + [True] * 2
    calls.clear()
    assert np.isnan(train(single(), "tiny", with_waits=False).waits).all()
    assert not calls


@pytest.mark.slow
def test_the_step_itself_is_not_counted_as_waiting():
    def slow_loss(truth, logits):
        values = tf.reduce_mean(logits, axis=[1, 2, 3])
        square = tf.ones([2000, 2000]) * tf.stop_gradient(values[0])
        return values + 1e-9 * tf.reduce_mean(square @ square)

    trained = train(single(), "tiny", steps=3, loss=slow_loss)
    assert trained.waits.min() < 0.05


def test_uneven_batches_are_refused():
    with pytest.raises(
        CommandError, match="--global_batch_size=3 does not divide among 2 "
    ):
        step.check_batch_size(2, 3)
