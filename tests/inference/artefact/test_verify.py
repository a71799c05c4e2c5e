"""A changed artefact is refused, by us and by its own client."""

import runpy
import shutil

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.artefact import saved_model
from inference.artefact import verify


@pytest.fixture
def folder(tmp_path):
    """An artefact without a network."""
    for name in ("1/saved_model.pb", "1/variables/variables.index", "labels.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "predict.py").write_text(saved_model.client())
    verify.write(tmp_path, {"format": "savedmodel"})
    return tmp_path


def changed_files(folder):
    return runpy.run_path(str(folder / "predict.py"))["changed_files"](folder)


def test_what_was_exported_is_accepted(folder):
    (folder / "notes.txt").write_text("of the user's own")
    assert verify.check(folder) == {"format": "savedmodel"}
    assert changed_files(folder) == []


def _record(folder):
    path = folder / "artefact.json"
    path.write_text(path.read_text().replace("savedmodel", "onnx"))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda f: (f / "1/saved_model.pb").write_text("x"), "1/saved_model.pb"),
        (lambda f: (f / "labels.txt").unlink(), "labels.txt"),
        (lambda f: (f / "1/variables/new").write_text("x"), "1/variables/new"),
        (_record, "artefact.json"),
    ],
)
def test_what_was_changed_is_refused(folder, damage, named):
    damage(folder)
    with pytest.raises(CommandError, match=named) as e:
        verify.check(folder)
    assert e.value.exit_code == ExitCode.CORRUPT
    assert changed_files(folder) == [named]


def test_a_folder_without_a_record(folder):
    shutil.rmtree(folder / "1")
    (folder / "artefact.json").unlink()
    with pytest.raises(CommandError, match="give a folder of inference.export"):
        verify.check(folder)
