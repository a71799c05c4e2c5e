import csv
import logging

import cv2
import pytest

from data_prep.build import side_tables
from data_prep.check import verification
from data_prep.core.errors import ExitCode
from data_prep.dataset.reading import DatasetReader
from tests.data_prep.build import films


@pytest.fixture
def source(tmp_path):
    """Ten films of ten patients; film1 is film0, brighter."""
    names = {f"film{k}.png": k for k in range(10)}
    films.write(tmp_path / "films", names)
    brighter = cv2.convertScaleAbs(films.film(0), alpha=1.02, beta=2)
    assert cv2.imwrite(str(tmp_path / "films" / "film1.png"), brighter)
    films.write_labels(tmp_path / "labels.csv", names)
    return tmp_path


def table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def fold_of(config):
    return {r.image_id: r.fold for r in DatasetReader(config.output / "32").records()}


def test_films_that_look_alike_are_listed_and_can_be_grouped(
    source, monkeypatch, caplog
):
    for seed in range(20):
        config = films.config(source, fold_seed=seed, output=source / f"data{seed}")
        with caplog.at_level(logging.INFO):
            assert films.run(monkeypatch, config) == ExitCode.DONE
        folds = fold_of(config)
        if folds["film0"] != folds["film1"]:
            break
    rows = table(config.output / side_tables.NEAR_DUPLICATES_FILE)
    assert rows[0] == ["ImageId", "other_ImageId", "distance", "fold", "other_fold"]
    assert len(rows) == 2
    one, other, distance, *of_folds = rows[1]
    assert (one, other) == ("film0", "film1")
    assert 0 <= int(distance) <= 12
    assert of_folds == [str(folds["film0"]), str(folds["film1"])]
    groups = config.output / side_tables.GROUPS_FILE
    told = [m for m in caplog.messages if m.startswith("NEAR_DUPLICATES: 1 pair")]
    assert f"--group_csv={groups}" in told[-1]
    assert not len(verification.verify(config.output).issues)
    # The same folds would divide them again.
    grouped = films.replaced(config, group_csv=groups, output=source / "grouped")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert films.run(monkeypatch, grouped) == ExitCode.DONE
    folds = fold_of(grouped)
    assert folds["film0"] == folds["film1"]
    assert "names no patient" not in caplog.text
    assert not (grouped.output / side_tables.NEAR_DUPLICATES_FILE).exists()
    assert any(m.startswith("no two of 10 films") for m in caplog.messages)


def test_groups_keep_the_patients(source, monkeypatch):
    patients = source / "patients.csv"
    rows = [f"film{k},{'p' if k in (0, 5) else k}" for k in range(10)]
    patients.write_text("\n".join(rows) + "\n")
    for seed in range(20):
        config = films.config(
            source, fold_seed=seed, group_csv=patients, output=source / f"data{seed}"
        )
        films.run(monkeypatch, config)
        path = config.output / side_tables.GROUPS_FILE
        if path.exists():
            break
    group_of = dict(table(path)[1:])
    assert len(group_of) == 10
    assert group_of["film0"] == group_of["film1"] == group_of["film5"]
    assert len(set(group_of.values())) == 8
    assert "p" not in group_of.values()


def test_names_are_no_formulas(tmp_path):
    path = tmp_path / "ids.csv"
    names = ["=1+1.png", "a;@b", r"a\nb\xff", "a b.png"]
    side_tables._write(path, ("ImageId", "name"), [("i", name) for name in names])
    lines = path.read_text().splitlines()
    assert sorted(lines[1:]) == sorted(
        ["i,'=1+1.png", "i,a;'@b", r"i,a\nb\xff", "i,a b.png"]
    )
