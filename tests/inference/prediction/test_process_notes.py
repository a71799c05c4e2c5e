"""Warnings of a cluster's processes reach the log of the command, and nothing else."""

import json
import logging

from data_prep.core import durable
from inference.prediction.process_notes import NotesReader
from inference.prediction.process_notes import ProcessNotes


def test_only_our_warnings_are_kept(tmp_path):
    notes = ProcessNotes(tmp_path)
    logging.warning("before")
    with notes.kept():
        logging.warning("lacks %s", "memory")
        logging.warning("lacks memory")
        logging.info("a detail")
        logging.getLogger("a.library").warning("what it read")
    logging.warning("after")
    (path,) = (tmp_path / "parts" / "notes").iterdir()
    assert json.loads(path.read_text())["lines"] == ["lacks memory"]


def test_each_line_is_repeated_once_a_machine(tmp_path, caplog):
    reader = NotesReader(tmp_path)
    reader.repeat()
    folder = tmp_path / "parts" / "notes"
    durable.write_json(folder / "a-1-x.json", {"host": "a", "lines": ["slow"]})
    reader.repeat()
    durable.write_json(folder / "a-1-x.json", {"host": "a", "lines": ["slow", "full"]})
    durable.write_json(folder / "a-2-x.json", {"host": "a", "lines": ["slow"]})
    durable.write_json(folder / "b-1-x.json", {"host": "b", "lines": ["slow"]})
    reader.repeat()
    assert caplog.messages == ["a: slow", "a: full", "b: slow"]


def test_a_folder_that_cannot_be_written_ends_no_prediction(tmp_path, capsys):
    (tmp_path / "parts").write_text("a file")
    with ProcessNotes(tmp_path).kept():
        logging.warning("lacks memory")
    assert "Logging error" in capsys.readouterr().err
