"""The table of encoders agrees with the libraries."""

import inspect
import pathlib
import re

import pytest

from trainer.models import encoders
from trainer.models import registry

KERAS = sorted(name for name, spec in encoders.ENCODERS.items() if not spec.taps)


@pytest.mark.parametrize("name", KERAS)
def test_files_and_digests_are_kerass_own(name):
    file = encoders.ENCODERS[name].weights[encoders.IMAGENET]
    source = pathlib.Path(inspect.getsourcefile(encoders.ENCODERS[name].network))
    # Keras writes long strings in parts.
    text = re.sub(r'"\s*f?"', "", source.read_text())
    assert file.digest in text
    assert file.origin in text
    assert file.name.removeprefix("efficientnetb4") in text


@pytest.mark.parametrize("name", ["b0", "b7"])
def test_files_of_the_package_have_digests(name):
    weights = encoders.ENCODERS[name].weights
    assert weights[encoders.IMAGENET].checksum.startswith("sha256 ")
    assert weights[encoders.NOISY_STUDENT].checksum.startswith("md5 ")


def test_an_encoder_is_found_with_its_entry():
    segmenter = registry.build(
        "nested_unetpp", image_size=32, encoder="b0", start_filters=1
    )
    encoder, spec = encoders.spec_of(segmenter)
    assert spec is encoders.ENCODERS["b0"]
    assert [encoder] == encoders.find(segmenter)
    strides = [32 // tap.shape[1] for tap in encoder.output]
    assert strides == list(spec.taps)
    plain = registry.build("nested_unetpp", image_size=32, start_filters=1)
    assert encoders.spec_of(plain) is None
