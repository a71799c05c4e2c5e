"""Each set of docs/datasets.md is converted by the command that the page gives."""

import csv
import inspect
import logging
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from absl.testing import flagsaver

from data_prep import main
from data_prep.build import publishing
from data_prep.core import durable
from data_prep.core import workers
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset.reading import DatasetReader
from data_prep.source import quarantine
from flags import command_line
from flags import data_prep as data_prep_flags
from tests.data_prep.sets import layouts

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "datasets.md"
SETS = [
    name
    for name, value in inspect.getmembers(layouts, inspect.isfunction)
    if not name.startswith("_") and value.__module__ == layouts.__name__
]
CONVERT = "python -m data_prep.main "
# Drawn films are few and small, and the share of those that are left out is large.
SMALL = ["--sizes=32", "--num_folds=2", "--max_bad_fraction=0.3", "--num_workers=1"]


def documented(name: str) -> list[str]:
    """Returns the commands of a set, in their order, each as one text."""
    text = DOCUMENT.read_text()
    (block,) = re.findall(
        rf"<!-- command: {name} -->\n\n((?:    .*\n|\n(?=    ))+)", text
    )
    block = re.sub(r"^    ", "", block, flags=re.MULTILINE).replace("\\\n", "")
    first, convert = block.split(CONVERT)
    return [*([first] if first else []), CONVERT + convert]


class InProcess:
    """A pool without processes, which would take longer than the films."""

    def __init__(self, *functions, num_workers, **_):
        del functions, num_workers

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap_ordered(self, function, items, **_):
        for item in items:
            try:
                result = function(item)
            except InputError as e:
                result = e
            yield item, result


@pytest.fixture
def convert(monkeypatch, tmp_path, caplog):
    """Returns a function that runs a documented command in a folder."""
    monkeypatch.setattr(workers, "WorkerPool", InProcess)
    monkeypatch.chdir(tmp_path)

    def run(commands):
        *before, command = commands
        for line in before:
            line = line.replace("python ", f"{sys.executable} ", 1)
            subprocess.run(line, shell=True, check=True)
        _, *arguments = shlex.split(command)[2:]
        with flagsaver.flagsaver(), caplog.at_level(logging.INFO):
            argv = ["main", *arguments, *SMALL]
            command_line.parse(argv, "data_prep.main", data_prep_flags.GROUPS)
            code = main.main()
            return code, data_prep_flags.convert_config()

    return run


@pytest.mark.parametrize("name", SETS)
def test_set(name, convert, tmp_path, caplog):
    expected = getattr(layouts, name)(tmp_path)
    code, config = convert(documented(name))
    reader = DatasetReader(config.output / "32")
    records = {r.image_id: r for r in reader.records()}
    path_of = paths(config, tmp_path)
    train = {path_of[i]: r for i, r in records.items() if r.fold >= 0}
    assert {path: r.label for path, r in train.items()} == expected.labels
    assert sorted(path_of[i] for i in records if path_of[i] not in train) == sorted(
        expected.test
    )
    for record in train.values():
        assert (record.mask_bits is not None) == expected.masks
        if expected.masks:
            assert any(record.mask_bits) == record.label
    groups = [{train[path].group for path in paths} for paths in expected.patients]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups) if groups else groups) == len(groups)
    if expected.folds:
        assert {path: r.fold for path, r in train.items()} == expected.folds
    rows = {row[0]: row[1] for row in quarantine.read(config.output)}
    assert rows == {shown(config, p): c for p, c in expected.quarantined.items()}
    assert code == (ExitCode.QUARANTINED if rows else ExitCode.DONE)
    for text in expected.log:
        assert any(text in message for message in caplog.messages), text


def test_the_first_csv_of_nih_ends_its_lines_with_a_comma(convert, tmp_path):
    expected = layouts.nih(tmp_path)
    path = tmp_path / "ChestX-ray14" / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("\n", ",\n"))
    _, config = convert(documented("nih"))
    records = DatasetReader(config.output / "32").records()
    assert sorted(r.label for r in records) == sorted(expected.labels.values())


def test_every_command_of_the_page_is_run():
    text = DOCUMENT.read_text()
    assert sorted(re.findall("<!-- command: (.*) -->", text)) == sorted(SETS)
    assert text.count(CONVERT) == len(SETS)


def paths(config, folder):
    """Returns {image id: path of its file below the folder}, by the files' hashes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    path_of = {durable.sha256(path): str(path.relative_to(folder)) for path in files}
    with (config.output / publishing.SOURCES_FILE).open() as file:
        return {row["ImageId"]: path_of[row["sha256"]] for row in csv.DictReader(file)}


def shown(config, path):
    """Returns the path of a training film as quarantine.csv has it."""
    below = pathlib.Path(path).relative_to(config.source)
    return str(config.source.name / below)
