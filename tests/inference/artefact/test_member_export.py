"""The command packs a run, and refuses flags that a member file has no use for."""

import zipfile

import pytest

from data_prep.core.errors import ConfigError
from inference.artefact import export
from inference.config import ExportConfig
from tests.inference.finished_runs import member


def test_a_run_is_packed(dataset, tmp_path, cache):
    member(tmp_path / "run", dataset / "32", 0)
    config = ExportConfig(
        members=(tmp_path / "run",),
        output=tmp_path / "member.zip",
        format="member",
        more_weights=("best",),
    )
    assert "with swa, best" in export.export(config)
    with zipfile.ZipFile(config.output) as archive:
        assert {"swa.weights.h5", "best.weights.h5"} < set(archive.namelist())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": ("a", "b")}, "Expected one run for a member file"),
        ({"classifiers": ("b",)}, "Expected no --classifiers"),
        ({"tta": ("none",)}, "Expected no --tta"),
        ({"format": "onnx", "more_weights": ("best",)}, "Expected --format=member"),
    ],
)
def test_other_flags_are_refused(tmp_path, changes, message):
    fields = {"members": ("a",), "output": tmp_path / "a.zip", "format": "member"}
    with pytest.raises(ConfigError, match=message):
        ExportConfig(**fields | changes)
