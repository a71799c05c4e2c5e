"""A seeded tiny run has the losses that are recorded here.

A change that should not affect training must not change them; one that should records
them anew and says why. Other processors round differently, hence 1e-4.
"""

import csv

import pytest

from tests import fakes
from trainer import loop

LOSSES = [1.408474, 1.346704, 1.31698]
VALIDATION = [1.417726, 1.3279, 1.31219]
SWA, EMA = 1.292177, 1.289486


@pytest.mark.slow
def test_losses(dataset, tmp_path):
    config = fakes.train_config(ema_momentum=0.9)
    execution = fakes.execution(dataset / "32", tmp_path / "run", strategy="single")
    scores = loop.train(config, execution)["scores"]
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == pytest.approx(LOSSES, rel=1e-4)
    validated = [float(row["val_loss"]) for row in rows]
    assert validated == pytest.approx(VALIDATION, rel=1e-4)
    assert scores["swa"]["loss"] == pytest.approx(SWA, rel=1e-4)
    assert scores["ema"]["loss"] == pytest.approx(EMA, rel=1e-4)
