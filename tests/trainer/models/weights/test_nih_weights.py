"""Loads files made from the list of layers, with another value in each tensor."""

import h5py
import keras
import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models import registry
from trainer.models.weights import nih_weights
from trainer.models.weights import pretrained

# Whole networks are built, or runs trained, once for all of these tests.
pytestmark = pytest.mark.slow

SIDES = {"densenet169": 32, "inception_resnet_v2": 96, "xception": 96}


def write(path, layers, first_number=1):
    """Writes a file as Keras 2.2.0 did; every tensor holds its number.

    Layers that Keras numbered are numbered from `first_number` on.
    """
    number = 0
    with h5py.File(path, "w") as file:
        names = []
        for name, shapes in layers:
            group = file.create_group(name)
            names.append(name.encode())
            weights = []
            for weight, shape in shapes.items():
                number += 1
                data = group.create_dataset(f"{name}/{weight}:0", shape, "f4")
                data[...] = number
                weights.append(f"{name}/{weight}:0".encode())
            group.attrs["weight_names"] = weights
        file.attrs["layer_names"] = names
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.2.0"
    return path


def renumbered(layers, shift):
    """The names of the layers in a process that built other networks before."""
    found = []
    for name, shapes in layers:
        match = nih_weights._AUTO.fullmatch(name)
        if match:
            name = f"{match[1]}_{int(match[2]) + shift}"
        found.append((name, shapes))
    return found


@pytest.fixture(scope="module", params=sorted(nih_weights.FILES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return registry.build(name, image_size=SIDES[name])


@pytest.fixture
def layers(name):
    return nih_weights.layers_of(nih_weights.FILES[name])


def test_counts_are_the_published_ones(name, layers, model):
    expected = {
        "densenet169": (337, 844, 12_636_608),
        "inception_resnet_v2": (448, 896, 54_336_160),
        "xception": (80, 234, 20_860_904),
    }[name]
    tensors = [shape for _, shapes in layers for shape in shapes.values()]
    params = sum(int(np.prod(shape)) for shape in tensors)
    assert (len(layers), len(tensors), params) == expected
    encoder = model.get_layer(f"encoder_{name}")
    assert encoder.count_params() == params


@pytest.mark.parametrize("shift", [0, 203])
def test_every_tensor_reaches_its_variable(name, layers, model, tmp_path, shift):
    path = write(tmp_path / "nih.h5", renumbered(layers, shift))
    assert nih_weights.load(path, model) == len(layers)
    encoder = model.get_layer(f"encoder_{name}")
    found = dict(nih_weights._by_rank(encoder))
    number = 0
    for key, (_, shapes) in zip(
        nih_weights.keys([n for n, _ in layers]), layers, strict=True
    ):
        of_layer = {v.name: v.numpy() for v in found[key].weights}
        assert list(of_layer) == list(shapes) or set(of_layer) == set(shapes)
        for weight, shape in shapes.items():
            number += 1
            assert of_layer[weight].shape == tuple(shape)
            assert (of_layer[weight] == number).all(), (key, weight)
    assert number == sum(len(shapes) for _, shapes in layers)


def test_the_graph_is_filled_in_the_order_of_the_file(name, layers, model):
    """The first and the last convolution are where the data passes first and last."""
    encoder = model.get_layer(f"encoder_{name}")
    weighted = [layer for layer in encoder.layers if layer.weights]
    keys = nih_weights.keys([n for n, _ in layers])
    found = dict(nih_weights._by_rank(encoder))
    assert found[keys[0]] is weighted[0]
    assert found[keys[-1]].output.shape[-1] == encoder.output.shape[-1]


def swap(layers, one, two):
    layers = list(layers)
    layers[one], layers[two] = layers[two], layers[one]
    return layers


def reshape(layers, which):
    name, shapes = layers[which]
    weight = next(iter(shapes))
    changed = {**shapes, weight: [*shapes[weight][:-1], shapes[weight][-1] + 1]}
    return [*layers[:which], (name, changed), *layers[which + 1 :]]


# The smallest file stands for the others, each of which takes seconds to write.
@pytest.mark.parametrize(
    "fault", ["permuted", "cut", "renamed", "reshaped", "lacks a weight", "damaged"]
)
@pytest.mark.parametrize("name", ["densenet169"], indirect=True, scope="module")
def test_other_files_are_refused_by_the_layers_name(
    name, layers, model, tmp_path, fault
):
    path = tmp_path / "nih.h5"
    said = layers[7][0]
    if fault == "permuted":
        write(path, swap(layers, 7, 9))
        said = layers[9][0] + " stands where " + layers[7][0]
    elif fault == "cut":
        write(path, layers[:-1])
        said = f"{len(layers) - 1} layers with weights, not {len(layers)}"
    elif fault == "renamed":
        write(path, [*layers[:7], ("other", layers[7][1]), *layers[8:]])
        said = f"layer other stands where {said} should"
    elif fault == "reshaped":
        write(path, reshape(layers, 7))
    elif fault == "lacks a weight":
        left = dict(list(layers[7][1].items())[:-1]) or {"other": [1]}
        write(path, [*layers[:7], (layers[7][0], left), *layers[8:]])
    else:
        write(path, layers)
        path.write_bytes(path.read_bytes()[:5000])
        said = "cannot be read"
    before = [w.numpy() for w in model.weights[:4]]
    with pytest.raises(CommandError, match=said) as e:
        nih_weights.load(path, model)
    assert e.value.exit_code == ExitCode.CORRUPT
    for weight, value in zip(model.weights, before, strict=False):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_models_without_such_weights():
    with pytest.raises(CommandError, match="no NIH weights for unet"):
        nih_weights.load("x.h5", keras.Sequential(name="unet"))
    rectified = registry.build("densenet169", image_size=32, final_relu=True)
    with pytest.raises(CommandError, match="leave out final_relu=true"):
        nih_weights.load("x.h5", rectified)


def test_features_of_densenet_are_not_rectified(tmp_path):
    model = registry.build("densenet169", image_size=32)
    encoder = model.get_layer("encoder_densenet169")
    rng = np.random.default_rng(0)
    features = encoder(rng.normal(size=(1, 32, 32, 1)).astype(np.float32)).numpy()
    assert (features < 0).any()


def test_a_missing_file_is_named_with_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "STORE", tmp_path / "store")
    model = registry.build("densenet169", image_size=32)
    with pytest.raises(CommandError, match="download DenseNet169_NIH15_Px448.h5") as e:
        pretrained.load("nih", model)
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert str(tmp_path / "store") in str(e.value)
    with pytest.raises(CommandError, match="no weights at nowhere.h5"):
        pretrained.load("nowhere.h5", model)


def test_the_digest_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    layers = nih_weights.layers_of(nih_weights.FILES["densenet169"])
    path = write(tmp_path / "given.h5", layers)
    model = registry.build("densenet169", image_size=32)
    found = pretrained.load(str(path), model)
    assert found["encoder_weights"] == "given.h5"
    assert found["sha256"] in caplog.text
    assert "filled 337 layers" in caplog.text
