"""A run folder goes on being what it was, in later versions too."""

import dataclasses

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.dataset import manifest
from tests import fakes
from trainer.run.run_folder import CONFIG
from trainer.run.run_folder import RunFolder


def claim(dataset, folder, **changes):
    config = dataclasses.asdict(fakes.train_config(**changes))
    RunFolder(folder).claim(config, manifest.read(dataset / "32"), "--fold=0\n")


def test_a_run_of_an_earlier_version_goes_on(dataset, tmp_path):
    """Its config.json lacks later fields, and its result.json may have its hash."""
    claim(dataset, tmp_path)
    stored = durable.read_json(tmp_path / CONFIG, fix="")
    del stored["config"]["fused"]
    durable.write_json(tmp_path / CONFIG, stored)
    before = (tmp_path / CONFIG).read_bytes()
    assert b"fused" not in before
    claim(dataset, tmp_path)
    assert (tmp_path / CONFIG).read_bytes() == before
    with pytest.raises(CommandError, match="fused: stored True, asked False"):
        claim(dataset, tmp_path, fused=False)
