import keras
import pytest

from data_prep.core.errors import ConfigError
from tests import fakes
from trainer.models import model_summary
from trainer.models import registry


def test_every_model_is_known():
    assert model_summary.KNOWN.keys() == registry.MODELS.keys() - {"tiny", "encoded"}


def test_the_side_of_a_model():
    assert model_summary.side("unet(n_pools=4)") == 512
    assert model_summary.side("uefficientnet(encoder=b4)") == 256
    with pytest.raises(ConfigError, match="Received: uunet"):
        model_summary.side("uunet")


@pytest.mark.slow
def test_costs_by_hand():
    """The stand-in has 9 + 1 multiply-adds (two operations) per pixel and filter."""
    found = model_summary.cost("tiny", 32)
    model = fakes.build_tiny(image_size=32)
    assert found.parameters == model.count_params()
    pixels = 32 * 32
    convolutions = 2 * pixels * (9 * 4 + 4)
    # The rest is scaling, batch norm, activation and bias.
    assert convolutions < 1e9 * found.gflop < convolutions + 20 * pixels * 4
    # Scaled image, convolution, norm, activation, dropout, logits.
    assert found.activation_mib == pytest.approx(4 * pixels * (1 + 4 * 4 + 1) / 2**20)


@pytest.mark.slow
def test_the_table_has_a_line_for_each(monkeypatch):
    monkeypatch.setattr(registry, "MODELS", {"tiny": fakes.build_tiny})
    monkeypatch.setitem(model_summary.KNOWN, "tiny", (64, "a test"))
    header, line = model_summary.table(None).splitlines()
    assert header.split()[:4] == ["model", "px", "parameters", "GFLOP"]
    assert line.split()[:3] == ["tiny", "64", "57"]
    assert line.endswith("a test")
    assert model_summary.table(32).splitlines()[1].split()[1] == "32"
    keras.backend.clear_session()
