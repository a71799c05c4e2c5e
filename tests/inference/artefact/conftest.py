"""One ensemble, exported once for all tests of its folder, and films to predict."""

import dataclasses
import pathlib
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf

from data_prep.phantom import phantom
from inference.artefact import export
from inference.config import ExportConfig
from tests import fakes
from tests.inference import finished_runs
from trainer.models import registry

# The networks have random weights; the gate and the areas empty a third of the masks.
POSTPROCESS = "gate(0.745)|triplet(0.62, 57000, 0.55)|min_area(300, per=component)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An artefact.

    Attributes:
      folder: the artefact.
      config: what it was exported by.
      line: what the export said.
      loaded: the SavedModel.
    """

    folder: pathlib.Path
    config: ExportConfig
    line: str
    loaded: Any

    def serve(self, films):
        """Returns what `serving_default` gives for bytes, as numpy arrays."""
        served = self.loaded.signatures["serving_default"]
        found = served(image_bytes=tf.constant(list(films), tf.string))
        return {name: value.numpy() for name, value in found.items()}


@pytest.fixture(scope="session")
def runs(dataset, tmp_path_factory):
    """Run folders of segmenters of 32 and 64 px, and of a classifier of 32 px."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.MODELS, "tiny", fakes.build_tiny)
        patch.setitem(registry.MODELS, "encoded", fakes.build_encoded)
        for size, seed in ((32, 0), (64, 1)):
            finished_runs.member(
                folder / f"seg{size}",
                dataset / str(size),
                seed,
                scale=12,
                described=True,
            )
        finished_runs.member(
            folder / "class",
            dataset / "32",
            2,
            model=finished_runs.CLASSIFIER,
            scale=4,
            described=True,
        )
    return folder


@pytest.fixture(scope="session")
def config(runs, tmp_path_factory):
    return ExportConfig(
        members=(runs / "seg32", runs / "seg64"),
        classifiers=(runs / "class",),
        output=tmp_path_factory.mktemp("exported") / "served",
        postprocess=POSTPROCESS,
        classifier_tta=("hflip", "invert"),
    )


@pytest.fixture(scope="session")
def exported(config):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.MODELS, "tiny", fakes.build_tiny)
        patch.setitem(registry.MODELS, "encoded", fakes.build_encoded)
        line = export.export(config)
    loaded = tf.saved_model.load(str(config.output / "1"))
    return Exported(folder=config.output, config=config, line=line, loaded=loaded)


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """A folder of 100 PNG and JPEG films of 64 to 160 px, most of them not square."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(5)
    drawn = [
        phantom.draw(np.random.default_rng(k), size=160, pneumothorax=k % 2 == 0).image
        for k in range(10)
    ]
    for k in range(100):
        height, width = rng.integers(64, 161, 2) if k % 4 else (128, 128)
        image = cv2.resize(drawn[k % 10], (int(width), int(height)))
        cv2.imwrite(str(folder / f"film{k:03d}{('.png', '.jpg')[k % 3 == 0]}"), image)
    return folder
