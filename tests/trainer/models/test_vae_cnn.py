import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import fakes
from trainer import step
from trainer.models import registry
from trainer.models import vae_cnn
from trainer.models import variational
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.run import checkpoints

LOSS = losses.parse("bce+dice")
TINY = {"start_filters": 8, "latent_size": 8}


def toys(count, seed, size=32):
    """A bright square on a dim slope, and its mask."""
    rng = np.random.default_rng(seed)
    image = np.tile(np.linspace(20, 120, size), (count, size, 1))
    mask = np.zeros((count, size, size))
    for k, (row, column) in enumerate(rng.integers(2, size - 14, (count, 2))):
        mask[k, row : row + 12, column : column + 12] = 1
    image = np.where(mask, 220, image) + rng.integers(0, 20, mask.shape)
    return {
        "image": image[..., None].astype(np.uint8),
        "mask": mask[..., None].astype(np.uint8),
    }


def build(size=32, **options):
    keras.utils.set_random_seed(0)
    return registry.build("vae_cnn", image_size=size, **(TINY | options))


def test_parameters():
    model = registry.build("vae_cnn", image_size=512)
    branch = model.get_layer("vae")
    of_branch = branch.encode.count_params() + branch.decode.count_params()
    assert of_branch == 6_878_289
    assert model.count_params() - of_branch == 6_014_721
    assert [t.shape[1:] for t in branch.input] == [(64, 64, 256), (512, 512, 1)]
    assert branch.decode.output.shape == (None, 512, 512, 1)
    assert list(model.output) == ["mask"]
    dropout = model.get_layer("stem_drop")
    assert isinstance(dropout, keras.layers.SpatialDropout2D)
    assert dropout.rate == 0.2


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_terms_by_hand(policy):
    """Features are the latent moments, the reconstruction is constant.

    The target is not rounded to half precision.
    """
    moments = keras.Input((2, 2, 1))
    flat = keras.layers.Flatten()(moments)
    encode = keras.Model(moments, {"mean": flat, "log_variance": 0.5 * flat})
    latent = keras.Input((4,))
    decode = keras.Model(latent, keras.layers.Reshape((2, 2, 1))(0 * latent + 0.25))
    branch = variational.VariationalBranch(
        encode=encode,
        decode=decode,
        reconstruction_weight=0.1,
        divergence_weight=0.2,
        name="vae",
        dtype=policy,
    )
    features = np.float32([[1, 0, -2, 4], [0, 0, 0, 0]]).reshape(2, 2, 2, 1)
    target = np.float32([[0.7001, 1, 0, 0], [0.25] * 4]).reshape(2, 2, 2, 1)
    np.testing.assert_array_equal(branch(features, target, training=True), features)
    error = np.mean([0.4501**2, 0.75**2, 0.25**2, 0.25**2, 0, 0, 0, 0])
    divergence = sum(m * m + np.exp(m / 2) - m / 2 - 1 for m in (1, 0, -2, 4))
    expected = [0.1 * error, 0.2 * divergence / 2 / 4]
    np.testing.assert_allclose(branch.losses, expected, rtol=1e-6)
    branch(features, target, training=False)
    assert branch.losses == []


@pytest.mark.slow
def test_no_term_dwarfs_the_others():
    """At an input of 0..255 and the published width, before any training."""
    batch = toys(4, seed=0, size=64)
    model = build(64, start_filters=32, latent_size=128)
    logits = model(batch["image"].astype(np.float32), training=True)["mask"]
    segmentation = float(tf.reduce_mean(LOSS(batch["mask"], logits)))
    reconstruction, divergence = (float(term) for term in model.losses)
    assert 0 < divergence < segmentation
    assert 0 < reconstruction < 2 * segmentation
    branch = model.get_layer("vae")
    for term, weight in ((reconstruction, 0.1), (divergence, 0.1)):
        assert term / weight < 20
    assert branch.reconstruction_weight == branch.divergence_weight == 0.1


def variables_used(model, training):
    """Paths of the variables that a traced call reads or writes."""

    @tf.function
    def call(x):
        return model(x, training=training)

    graph = call.get_concrete_function(tf.TensorSpec((2, 32, 32, 1))).graph
    paths = {id(v.value): v.path for v in model.variables}
    return {paths[id(v)] for v in graph.variables}


@pytest.mark.slow
def test_branch_is_left_out_of_predictions():
    model = build()
    branch = model.get_layer("vae")
    of_branch = {v.path for v in branch.variables}
    assert len(of_branch) > 40
    assert branch.seeds.state.path in of_branch
    assert of_branch <= variables_used(model, training=True)
    assert not of_branch & variables_used(model, training=False)


@pytest.mark.slow
def test_noise_goes_on_after_a_restart_where_it_was():
    model = build(dropout=0.0)
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    saved = [v.numpy() for v in checkpoints.variables_of(model, optimizer)]
    x = toys(2, seed=0)["image"].astype(np.float32)

    def terms():
        model(x, training=True)
        return [float(t) for t in model.losses]

    first, second = terms(), terms()
    assert first[0] != second[0], "each step draws anew"
    for variable, value in zip(
        checkpoints.variables_of(model, optimizer), saved, strict=True
    ):
        variable.assign(value)
    assert terms() == first
    assert terms() == second


def reconstruction_error(model, images):
    """Returns the mean squared error of each image, decoded from the latent mean."""
    branch = model.get_layer("vae")
    features = keras.Model(model.input, branch.input[0])(images)
    reconstruction = branch.decode(branch.encode(features)["mean"]).numpy()
    return np.mean((images / 255 - reconstruction) ** 2, axis=(1, 2, 3))


@pytest.mark.slow
def test_learns_to_segment_and_to_reconstruct(monkeypatch):
    monkeypatch.setattr(vae_cnn, "REPEATS", (1, 1, 1, 1))  # Traces in half the time.
    model = build(dropout=0.0)
    held_out = toys(16, seed=1)
    images = held_out["image"].astype(np.float32)
    noise = np.random.default_rng(2).integers(0, 256, images.shape)

    def scores():
        mask = model(images, training=False)["mask"]
        error = reconstruction_error(model, images)
        return float(tf.reduce_mean(LOSS(held_out["mask"], mask))), error

    loss_before, error_before = scores()
    optimizer = optimizers.Adam(3e-3)
    optimizer.build(model.trainable_variables)
    strategy = tf.distribute.get_strategy()
    train = step.make_train(strategy, model, optimizer, LOSS, fakes.train_config())
    data = tf.data.Dataset.from_tensor_slices(toys(200, seed=0)).batch(4)
    values = train(iter(data), tf.constant(50))[0].numpy()
    assert np.isfinite(values).all()
    loss_after, error_after = scores()
    assert loss_after < 0.5 * loss_before
    assert error_after.mean() < 0.5 * error_before.mean()
    # Images unlike all training images are reconstructed worst.
    odd = reconstruction_error(model, noise.astype(np.float32))
    assert odd.min() > error_after.max()
