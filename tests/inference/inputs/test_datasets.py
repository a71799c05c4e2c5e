import dataclasses
import logging

import pytest

from data_prep.dataset.schema_version import SCHEMA_VERSION
from inference.inputs import datasets
from tests.inference import finished_runs
from trainer.run import run_folder


@pytest.fixture
def run(dataset, tmp_path):
    finished_runs.member(tmp_path / "run", dataset / "32", 0)
    return run_folder.open_finished(tmp_path / "run")


def of_version(run, version):
    options = {k: v for k, v in run.dataset["options"].items() if k != "schema_version"}
    options |= {"schema_version": version} if version > 1 else {}
    return dataclasses.replace(run, dataset=run.dataset | {"options": options})


def test_a_run_of_an_earlier_version_is_warned_of_in_one_line(run, caplog):
    datasets.warn_of_other_versions([run])
    assert not caplog.records
    # The first version did not write down which it was.
    datasets.warn_of_other_versions([of_version(run, 1), run, of_version(run, 1)])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    told = record.getMessage()
    assert told.startswith(f"{run.path} was trained on a dataset of schema version 1")
    assert f"this one has {SCHEMA_VERSION}: pixels of films" in told


def test_the_version_is_no_option_that_must_match(run, dataset):
    found = datasets.for_run(of_version(run, 1), datasets.find([dataset]))
    assert found.folder == dataset / "32"
