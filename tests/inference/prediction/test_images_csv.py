"""The table of a prediction's images says what was predicted and what is known."""

import csv
import json
import pathlib
import re

import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from data_prep.pixels.dicom_spacing import ODD
from data_prep.pixels.dicom_spacing import Spacing
from inference.masks import image_probability
from inference.prediction import film_facts
from inference.prediction import film_segmentation
from inference.prediction import image_rows
from inference.prediction import images_csv
from inference.prediction import joining
from inference.prediction.film_facts import FilmFacts
from inference.prediction.images_csv import ImageRow
from inference.prediction.prediction_folder import PredictionFolder
from inference.prediction.row import Row
from tests.inference.prediction import repeated

REQUEST = {"tta": ["none"], "predict_precision": "trained"}
NAME = images_csv.FILE_NAME


def mask(*columns, height=20, width=10):
    """Returns the RLE of a mask with all but the outermost rows of some columns."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[1:-1, list(columns)] = 1
    return rle.encode(pixels)


def row(name="a", **changes):
    fields = {"rle": mask(2), "probability": None, "peak": 0.75}
    return Row(name, **fields | {"height": 20, "width": 10} | changes)


def finished(path, rows, films=None, seconds=0.25):
    folder = PredictionFolder(path, REQUEST)
    folder.claim()
    for index, of_part in enumerate(rows):
        folder.write(index, of_part, None, seconds=seconds)
    folder.join([len(of_part) for of_part in rows], films)
    return folder


def test_every_column(tmp_path):
    films = FilmFacts(
        spacings={
            "a": Spacing(0.2, 0.5, "PixelSpacing"),
            "b": Spacing(0.143, 0.143, "ImagerPixelSpacing"),
            "d": Spacing(0, 0, ODD),
        },
        notices={"b": ("BITS_DEFAULTED", "TAG_IGNORED")},
    )
    rows = [
        [row("a", rle=mask(2, 7, 8), guard=0.5), row("b", rle=rle.EMPTY, guard=1.5)],
        [row("c", rle=mask(9)), row("d"), row("e", peak=None, probability=0.125)],
    ]
    finished(tmp_path, rows, films)
    with (tmp_path / NAME).open(newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == images_csv.COLUMNS
    detector = [r"0.143\0.143", "ImagerPixelSpacing"]
    assert lines == [
        ["a", "0.75", "54", "5.40", "both", "2", "0.5", "0.25"]
        + [r"0.2\0.5", "PixelSpacing", ""],
        ["b", "0.75", "0", "0.00", "", "0", "1.5", "0.25", *detector]
        + ["unlike;BITS_DEFAULTED;TAG_IGNORED"],
        ["c", "0.75", "18", "", "right", "1", "", "0.25", "", ""]
        + ["spacing_unknown;mask_at_border"],
        ["d", "0.75", "18", "", "left", "1", "", "0.25", "", "", "spacing_odd"],
        ["e", "0.125", "18", "", "left", "1", "", "0.25", "", "", "spacing_unknown"],
    ]
    assert images_csv.read(tmp_path / NAME)["a"] == ImageRow(
        image_id="a",
        probability=0.75,
        area_px=54,
        area_mm2=5.4,
        side="both",
        regions=2,
        guard=0.5,
        seconds=0.25,
        spacing_mm=r"0.2\0.5",
        spacing_from="PixelSpacing",
    )


def test_the_probability_is_that_of_the_classifiers_and_calibrated():
    both = row(probability=0.9, peak=0.2)
    assert image_rows.of(both, FilmFacts(), None).probability == 0.9
    films = FilmFacts(temperature=2.0)
    for value in (0.9, 0.5, 0.0):
        found = image_rows.of(row(peak=value), films, None).probability
        assert found == image_probability.calibrated(value, 2.0)
    assert image_rows.of(row(peak=None), films, None).probability is None


def test_what_a_conversion_knows_is_read(tmp_path):
    (tmp_path / "notices.csv").write_text("ImageId,code\na,X\na,Y\nb,X\n")
    (tmp_path / "spacing.csv").write_text(
        "ImageId,spacing_mm,origin\na,0.1\\0.1,PixelSpacing\n"
    )
    assert film_facts.read(tmp_path / "512", 2.0) == FilmFacts(
        spacings={"a": Spacing(0.1, 0.1, "PixelSpacing")},
        notices={"a": ["X", "Y"], "b": ["X"]},
        temperature=2.0,
    )
    assert film_facts.read(tmp_path / "512" / "copied", None) == FilmFacts()


def test_what_is_not_known_is_empty():
    former = image_rows.of(row(height=None, width=None, peak=None), FilmFacts(), None)
    assert former == ImageRow(image_id="a", warnings=("not_measured",))
    # Without masks there is nothing to measure.
    classified = image_rows.of(row(rle=None, probability=0.5), FilmFacts(), None)
    assert classified == ImageRow(image_id="a", probability=0.5)
    left_out = image_rows.of(row(guard=2.0), FilmFacts(), None, is_left_out=True)
    assert (left_out.area_px, left_out.side, left_out.regions) == (None, "", None)
    assert (left_out.probability, left_out.guard) == (None, 2.0)
    assert left_out.warnings == ("unlike",)


def test_the_seal_does_not_depend_on_the_seconds(tmp_path):
    one = finished(tmp_path / "one", [[row()]], seconds=0.125)
    two = finished(tmp_path / "two", [[row()]], seconds=3e4)
    paths = [folder.path / NAME for folder in (one, two)]
    assert len({path.read_bytes() for path in paths}) == 2
    assert len({repeated.read(path) for path in paths}) == 1
    sealed = [folder.path / "prediction.json" for folder in (one, two)]
    assert len({path.read_bytes() for path in sealed}) == 1
    assert one.complete()
    # A part that another release has left has none.
    assert finished(tmp_path / "former", [[row()]], seconds=None).complete()
    assert images_csv.read(tmp_path / "former" / NAME)["a"].seconds is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("0.75", "0.25"),
        lambda text: text.replace("left", "right"),
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: text.partition("\n")[2],
        lambda text: text.replace(",", ";"),
        lambda text: "\udcff",
    ],
)
def test_a_changed_table_is_refused(tmp_path, change):
    folder = finished(tmp_path, [[row()]])
    path = tmp_path / NAME
    path.write_text(change(path.read_text()), errors="surrogateescape")
    with pytest.raises(CommandError, match=NAME) as e:
        folder.complete()
    assert e.value.exit_code == ExitCode.CORRUPT
    path.unlink()
    with pytest.raises(CommandError, match="is missing"):
        folder.complete()


def test_a_prediction_without_csvs_has_no_table(tmp_path):
    folder = finished(tmp_path, [[row(rle=None)]])
    assert not (tmp_path / NAME).exists()
    assert folder.complete()


def test_a_prediction_of_an_earlier_release_has_none(tmp_path):
    folder = finished(tmp_path, [[row()]])
    stored = durable.read_json(tmp_path / "prediction.json", fix="")
    del stored["table"]
    durable.write_json(tmp_path / "prediction.json", stored)
    (tmp_path / NAME).unlink()
    assert folder.complete()
    folder.check_temperature(2.0)


def test_another_calibration_is_refused(tmp_path):
    folder = finished(tmp_path, [[row()]], FilmFacts(temperature=1.5))
    assert json.loads((tmp_path / "prediction.json").read_text())["temperature"] == 1.5
    folder.check_temperature(1.5)
    for other in (None, 2.0):
        with pytest.raises(CommandError, match="temperature 1.5, asked") as e:
            folder.check_temperature(other)
        assert e.value.exit_code == ExitCode.CONFLICT
    folder = finished(tmp_path / "without", [[row()]])
    folder.check_temperature(None)
    with pytest.raises(CommandError, match="temperature None, asked"):
        folder.check_temperature(1.5)


def test_films_left_out_have_no_answer_in_any_csv(tmp_path):
    folder = PredictionFolder(tmp_path, REQUEST, leaves_out=True)
    folder.claim()
    kept = row("a", probability=0.5, guard=1.0, unlike="grey")
    left_out = row("b", probability=0.0, guard=1.5, unlike="grey")
    folder.write(0, [kept, left_out], None)
    folder.join([2])
    a, b = images_csv.read(tmp_path / NAME).values()
    assert (a.probability, a.area_px) == (0.5, 18)
    assert (b.probability, b.area_px, b.guard) == (None, None, 1.5)
    for name in (joining.SUBMISSION, joining.CLASSIFICATION):
        ids = [line.split(",")[0] for line in (tmp_path / name).read_text().split()]
        assert "a" in ids
        assert "b" not in ids


def test_warnings_are_replaced_and_nothing_else(tmp_path):
    folder = finished(tmp_path, [[row("a"), row("b", guard=2.0)]])
    path = tmp_path / NAME
    before, written = images_csv.read(path), path.stat().st_mtime_ns
    codes = ("seg_x", "seg_y")
    images_csv.replace_warnings(path, codes, {})
    assert path.stat().st_mtime_ns == written
    images_csv.replace_warnings(path, codes, {"b": ["seg_x"]})
    images_csv.replace_warnings(path, codes, {"a": ["seg_y"], "b": ["seg_y"]})
    after = images_csv.read(path)
    assert after["a"].warnings == ("spacing_unknown", "seg_y")
    assert after["b"].warnings == ("unlike", "spacing_unknown", "seg_y")
    images_csv.replace_warnings(path, codes, {})
    assert images_csv.read(path) == before
    assert folder.complete()


def test_no_cell_is_a_formula(tmp_path):
    with pytest.raises(ValueError, match="Expected an image id"):
        finished(tmp_path, [[row("=1+1", rle=None, probability=0.5)]])
    films = FilmFacts(spacings={"a": Spacing(0.1, 0.1, "PixelSpacing")})
    finished(tmp_path / "out", [[row(guard=0.0)]], films)
    with (tmp_path / "out" / NAME).open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r")]


def test_the_page_has_every_column_and_warning():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "results.md").read_text()
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    codes = image_rows.WARNINGS.keys() | film_segmentation.WARNINGS.keys()
    assert told == set(images_csv.COLUMNS) | codes
