"""Conversions whose labels are of whole images: records without masks."""

import dataclasses
import json
import logging

import pytest

from data_prep.build import convert
from data_prep.check import record_checks
from data_prep.check import verification
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset.reading import DatasetReader
from data_prep.source import quarantine
from data_prep.view import inspect_page
from tests import label_films


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    label_films.write(folder)
    return folder


@pytest.fixture(scope="module")
def converted(films, tmp_path_factory):
    """The output folder, and what the conversion logged."""
    output, told = tmp_path_factory.mktemp("converted") / "data", []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        convert.convert(label_films.config(films, output))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return output, told


def records(folder):
    return {r.image_id: r for r in DatasetReader(folder).records()}


def test_records_have_a_label_and_no_mask(converted):
    output, _ = converted
    stored = records(output / "32")
    expected = {f"{k:08d}_000": int(k % 3 == 0) for k in range(label_films.NUM_FILMS)}
    assert {i: r.label for i, r in stored.items()} == expected
    assert {r.mask_bits for r in stored.values()} == {None}
    data = manifest.read(output / "32")
    assert not data.has_masks
    assert data.options["label_rule"]["uncertain"] == "exclude"


def test_what_is_left_out_is_said_and_no_bad_input(converted):
    output, told = converted
    left_out = [line for line in told if "left out" in line]
    assert [line.split(":")[0] for line in left_out] == [
        "1 images are left out",
        "2 images are left out",
    ]
    ((path, code, *_),) = quarantine.read(output)
    assert (path, code) == (f"images/{label_films.NUM_FILMS + 3:08d}_000.png",) + (
        "LABEL_MISSING",
    )


def test_patients_of_the_csv_stay_in_one_fold(converted):
    output, _ = converted
    folds = {}
    for image_id, record in records(output / "32").items():
        folds.setdefault(int(image_id[:8]) // 2, set()).add(record.fold)
    assert len(folds) == label_films.NUM_FILMS // 2
    assert all(len(of_patient) == 1 for of_patient in folds.values())


def test_it_verifies(converted):
    output, _ = converted
    result = verification.verify(output)
    assert not result.issues.lines()
    assert result.num_records == label_films.NUM_FILMS


def test_the_page_says_that_there_are_labels_only(converted, tmp_path):
    output, _ = converted
    inspect_page.write(output / "32", tmp_path, 6)
    page = (tmp_path / inspect_page.PAGE).read_text()
    assert "positive, label only" in page
    assert "negative, label only" in page
    assert "The images have labels and no masks." in page
    assert " px</figcaption>" not in page
    assert "vanished" not in page


def test_the_same_command_again(converted, films):
    output, _ = converted
    config = label_films.config(films, output)
    assert convert.convert(config) == ExitCode.DONE
    other = label_films.config(films, output, unmentioned="negative")
    with pytest.raises(CommandError, match="label_rule") as e:
        convert.convert(other)
    assert e.value.exit_code == ExitCode.CONFLICT


def test_published_lists_are_folds(films, tmp_path, caplog):
    caplog.set_level("INFO")
    config = label_films.config(
        films, tmp_path / "out", fold_lists=[films / name for name in label_films.LISTS]
    )
    convert.convert(config)
    stored = {i: r.fold for i, r in records(config.output / "32").items()}
    assert stored == {f"{k:08d}_000": int(k >= 8) for k in range(22)}
    assert "2 images are left out: no list of --fold_lists names them" in caplog.text
    data = manifest.read(config.output / "32")
    assert (data.num_folds, data.options["published_folds"]) == (2, True)
    assert not verification.verify(config.output).issues


def test_a_list_of_another_source(films, tmp_path):
    (tmp_path / "other.txt").write_text("x.png\n")
    lists = [films / label_films.LISTS[0], tmp_path / "other.txt"]
    config = label_films.config(films, tmp_path / "out", fold_lists=lists)
    with pytest.raises(CommandError, match="other.txt names no labelled image of"):
        convert.convert(config)


def test_a_mask_in_a_dataset_of_labels_is_an_issue(converted):
    output, _ = converted
    data = manifest.read(output / "32")
    shard = data.shards[0]
    record = next(DatasetReader(output / "32", data).records([shard]))
    assert not list(record_checks.find_issues(record, shard, data))
    masked = dataclasses.replace(record, mask_bits=bytes(128))
    ((kind, what),) = record_checks.find_issues(masked, shard, data)
    assert (kind, what) == ("RECORD_MASK", "has a mask in a dataset of labels alone")


def test_a_dataset_of_an_earlier_version_is_refused(converted, tmp_path):
    output, _ = converted
    path = tmp_path / manifest.FILE_NAME
    stored = json.loads((output / "32" / manifest.FILE_NAME).read_text())
    del stored["sha256"]
    durable.write_json(path, stored | {"schema_version": 1})
    with pytest.raises(CommandError, match="has schema version 1, this program") as e:
        manifest.read(tmp_path)
    assert str(e.value).endswith("; delete the dataset folder and convert again")
    (issue,) = verification.verify(tmp_path).issues
    assert "has schema version 1" in issue.what
