"""Warnings of a cluster's processes reach the log of the command, and nothing else."""

import errno
import json
import logging
import pathlib

import pytest

from data_prep.core import durable
from inference.prediction import process_notes
from inference.prediction.process_notes import NotesReader
from inference.prediction.process_notes import ProcessNotes


def test_only_our_warnings_are_kept(tmp_path):
    notes = ProcessNotes(tmp_path)
    logging.warning("before")
    with notes.kept():
        logging.warning("lacks %s", "memory")
        logging.warning("lacks memory")
        logging.warning("is slow")
        logging.info("a detail")
        logging.getLogger("a.library").warning("what it read")
    logging.warning("after")
    paths = sorted((tmp_path / "parts" / "notes").iterdir())
    lines = [json.loads(path.read_text())["line"] for path in paths]
    assert lines == ["lacks memory", "is slow"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "parts" / "notes"


def note(folder, name, host, line):
    durable.write_json(folder / f"{name}.json", {"host": host, "line": line})


def test_each_line_is_repeated_once_a_machine(tmp_path, folder, caplog):
    reader = NotesReader(tmp_path)
    reader.repeat(now=True)
    note(folder, "a-1-x-1", "a", "slow")
    reader.repeat(now=True)
    note(folder, "a-1-x-2", "a", "full")
    note(folder, "a-2-x-1", "a", "slow")
    note(folder, "b-1-x-1", "b", "slow")
    reader.repeat(now=True)
    assert caplog.messages == ["a: slow", "a: full", "b: slow"]


def test_notes_of_an_earlier_call_are_not_repeated(tmp_path, folder, caplog):
    note(folder, "a-1-x-1", "a", "slow")
    reader = NotesReader(tmp_path)
    note(folder, "a-1-y-1", "a", "full")
    reader.repeat(now=True)
    assert caplog.messages == ["a: full"]


def test_each_note_is_read_once_and_not_at_every_unit(tmp_path, folder, monkeypatch):
    read, names, clock = durable.read_json, [], [100.0]

    def watched(path, *, fix):
        names.append(path.name)
        return read(path, fix=fix)

    monkeypatch.setattr(durable, "read_json", watched)
    monkeypatch.setattr(process_notes.time, "monotonic", lambda: clock[0])
    reader = NotesReader(tmp_path)
    for k in range(3):
        note(folder, f"a-1-x-{k}", "a", f"line {k}")
        reader.repeat()
    assert names == ["a-1-x-0.json"]
    clock[0] += 60
    for _ in range(3):
        reader.repeat(now=True)
    assert names == [f"a-1-x-{k}.json" for k in range(3)]


@pytest.mark.parametrize("error", [errno.ESTALE, errno.ENOENT])
def test_a_note_that_vanishes_ends_no_prediction(
    tmp_path, folder, caplog, monkeypatch, error
):
    reader = NotesReader(tmp_path)
    note(folder, "a-1-x-1", "a", "slow")
    (folder / "a-1-x-2.json").write_text("{}")
    with monkeypatch.context() as changed:

        def fails(self, **options):
            raise OSError(error, "gone", str(self))

        changed.setattr(pathlib.Path, "read_text", fails)
        reader.repeat()
    assert caplog.messages == []
    reader.repeat(now=True)
    assert caplog.messages == [
        "a: slow",
        f"1 warnings of other machines in {folder} could not be read",
    ]
    with monkeypatch.context() as changed:

        def fails_to_list(self):
            raise OSError(error, "gone", str(self))

        changed.setattr(pathlib.Path, "iterdir", fails_to_list)
        reader.repeat(now=True)


def test_a_folder_that_cannot_be_written_ends_no_prediction(tmp_path, capsys):
    (tmp_path / "parts").write_text("a file")
    with ProcessNotes(tmp_path).kept():
        logging.warning("lacks memory")
    assert "Logging error" in capsys.readouterr().err
