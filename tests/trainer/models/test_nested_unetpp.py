import numpy as np
import pytest

from trainer.models import nested_unetpp
from trainer.models import registry


@pytest.mark.parametrize(
    ("deep", "parameters"), [(False, 9_041_601), (True, 9_041_700)]
)
def test_parameters(deep, parameters):
    """The paper says 9.04 million."""
    model = registry.build("nested_unetpp", image_size=64, deep_supervision=deep)
    assert model.count_params() == parameters
    heads = [f"mask_{j}" for j in range(1, 5)] if deep else []
    assert sorted(model.output) == ["mask", *heads]


@pytest.mark.parametrize("encoder", ["plain", "b0"])
def test_dense_nodes(encoder):
    """The inputs of X[i][j] are all earlier nodes of its row, and the one below."""
    model = registry.build(
        "nested_unetpp", image_size=64, encoder=encoder, start_filters=2
    )
    filters = [2, 4, 8, 16, 32]
    if encoder == "plain":
        first = filters
    else:
        taps = model.get_layer("taps").output
        first = [2, *(t.shape[-1] for t in taps)]
    joins = {n.name for n in model.layers if n.name.endswith("_concat")}
    nodes = [(i, j) for i in range(5) for j in range(1, 5 - i)]
    assert len(nodes) == 10
    assert joins == {f"x{i}{j}_concat" for i, j in nodes}
    for i, j in nodes:
        given = model.get_layer(f"x{i}{j}_concat").input
        widths = [t.shape[-1] for t in given]
        assert widths == [first[i], *[filters[i]] * (j - 1), filters[i]]
        assert {t.shape[1] for t in given} == {64 // 2**i}
        below = model.get_layer(f"x{i}{j}_up").input
        assert below.shape[-1] == (first if j == 1 else filters)[i + 1]


def test_mean_is_of_probabilities():
    heads = [np.float32([0, 3, 80, -80, 200]), np.float32([0, -1, 90, -90, 0])]
    found = nested_unetpp.MeanProbability()([h[:, None] for h in heads])
    z = np.stack(heads).astype(np.float64)
    p, q = (1 / (1 + np.exp(-s * z)) for s in (1, -1))
    expected = np.log(p.mean(0)) - np.log(q.mean(0))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_mask_is_the_mean_of_the_heads():
    model = registry.build(
        "nested_unetpp", image_size=32, start_filters=2, deep_supervision=True
    )
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1)).astype(np.float32)
    outputs = {k: v.numpy() for k, v in model(x, training=False).items()}
    mean = np.mean([1 / (1 + np.exp(-outputs[f"mask_{j}"])) for j in range(1, 5)], 0)
    np.testing.assert_allclose(1 / (1 + np.exp(-outputs["mask"])), mean, rtol=1e-4)
