"""Tiny sources, and a conversion of them without processes, for tests of the build."""

import dataclasses
import pathlib
from collections.abc import Mapping

import cv2
import numpy as np

from data_prep.build import convert
from data_prep.config import ConvertConfig
from data_prep.core import workers
from data_prep.core.errors import InputError
from data_prep.phantom import phantom

SIDE = 64


class InProcess:
    """A pool without processes, which would take longer than the films."""

    def __init__(self, *functions, num_workers, **_):
        self._functions = functions

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap_ordered(self, function, items, **_):
        assert function in self._functions, "a real pool knows these alone"
        for item in items:
            try:
                result = function(item)
            except InputError as e:
                result = e
            yield item, result


def film(seed: int) -> np.ndarray:
    """Returns a phantom, [SIDE, SIDE] uint8."""
    rng = np.random.default_rng(seed)
    return phantom.draw(rng, size=SIDE, pneumothorax=False).image


def write(folder: pathlib.Path, names: Mapping[str, int]) -> pathlib.Path:
    """Writes {name: seed of the film} as PNG or JPEG, and returns the folder."""
    for name, seed in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), film(seed))
    return folder


def write_labels(path: pathlib.Path, names, *, header="ImageId,EncodedPixels"):
    """Writes a csv in which every second of the names has a small mask."""
    rows = [f"{name},{'-1' if k % 2 else '70 9'}" for k, name in enumerate(names)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def config(folder: pathlib.Path, **fields) -> ConvertConfig:
    """Returns a config of `folder`/films and labels.csv there, of two folds."""
    defaults = {
        "source": folder / "films",
        "rle_csv": folder / "labels.csv",
        "output": folder / "data",
        "sizes": (32,),
        "num_folds": 2,
        "max_bad_fraction": 0.0,
        "num_workers": 1,
    }
    return ConvertConfig(**defaults | fields)


def run(monkeypatch, converted: ConvertConfig, *, dry: bool = False):
    """Converts without processes."""
    with monkeypatch.context() as patch:
        patch.setattr(workers, "WorkerPool", InProcess)
        return convert.dry_run(converted) if dry else convert.convert(converted)


def replaced(converted: ConvertConfig, **fields) -> ConvertConfig:
    """Returns the config with other fields."""
    return dataclasses.replace(converted, **fields)
