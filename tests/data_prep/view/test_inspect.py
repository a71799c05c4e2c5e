import base64
import collections
import dataclasses
import html.parser
import pathlib
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from data_prep.check import verification
from data_prep.dataset import manifest
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.view import inspect_page
from data_prep.view import inspection

ROOT = pathlib.Path(__file__).parents[3]
VOID = {"meta", "img"}


class Parser(html.parser.HTMLParser):
    """Checks that tags are balanced; collects the texts of cells and the images."""

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.pictures = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


@pytest.fixture(scope="module")
def written(dataset, tmp_path_factory):
    output = tmp_path_factory.mktemp("report")
    return inspect_page.write(dataset / "64", output, 12), output


def plain(folder):
    data = manifest.read(folder)
    return [schema.parse(r) for s in data.shards for r in shards.read(folder / s.name)]


def test_numbers_are_those_of_a_plain_count(written, dataset):
    inspected, _ = written
    stored = plain(dataset / "64")
    expected = collections.Counter((r.fold, r.label) for r in stored)
    counted = {
        (fold, label): n
        for fold, row in inspected.counts().items()
        for label, n in row.items()
    }
    assert counted == dict(expected)
    for fold, patients in inspected.patients.items():
        assert patients == len({r.group for r in stored if r.fold == fold})
    assert inspected.quarantined == {"DCM_TRUNCATED": 1, "LABEL_MISSING": 1}
    areas = {
        r.image_id: schema.unpack_mask(r.mask_bits, 64).sum() * 256
        for r in stored
        if r.label == 1
    }
    assert {i.image_id: i.area for i in inspected.images if i.label == 1} == areas
    train = [np.frombuffer(r.pixels, np.uint8) for r in stored if r.fold >= 0]
    values = np.concatenate(train)
    np.testing.assert_array_equal(
        inspected.histogram, np.bincount(values, minlength=256)
    )


def test_page_is_complete_and_self_contained(written):
    inspected, output = written
    text = (output / "index.html").read_text()
    parser = Parser()
    parser.feed(text.removeprefix("<!doctype html>"))
    assert not parser.open
    assert not re.search(r"https?:|<script|<link", text)
    row = inspected.counts()[0]
    start = parser.cells.index("fold 0")
    assert parser.cells[start + 1 : start + 5] == [
        str(row[1]),
        str(row[0]),
        "0",
        str(inspected.patients[0]),
    ]
    for value in ("LABEL_MISSING", "opencv(clip_limit=2.0, tiles=8)"):
        assert value in parser.cells
    assert len(parser.pictures) == 12
    for picture in parser.pictures:
        data = base64.b64decode(picture.removeprefix("data:image/png;base64,"))
        tile = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert tile.shape == (256, 256, 3)
    sheet = cv2.imread(str(output / "contact_sheet.png"))
    assert sheet.shape == (2 * 220, 6 * 198, 3)
    green = (sheet == (90, 200, 60)).all(axis=-1).sum()
    assert green > 200, "outlines are drawn"


def test_names_of_others_are_text(written):
    """Codes of a quarantine.csv and a dataset's options may come from anybody."""
    inspected, _ = written
    hostile = "\"'><script>alert(1)</script>"
    data = inspected.manifest
    data = dataclasses.replace(data, options=data.options | {hostile: hostile})
    inspected = dataclasses.replace(inspected, manifest=data, quarantined={hostile: 1})
    tile = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8), hostile
    text = inspect_page._page(inspected, [tile], [tile])
    assert "<script" not in text
    # A picture's text and its caption, twice; a code; an option and its value.
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 7


def test_chosen_images_span_the_sizes(written):
    inspected, _ = written
    chosen = inspection.choose(inspected.images, 9)
    areas = [i.area for i in chosen if i.label == 1]
    whole = [i.area for i in inspected.images if i.label == 1]
    assert len(chosen) == 9
    assert len(areas) == 6
    assert (min(areas), max(areas)) == (min(whole), max(whole))
    assert len(inspection.choose(inspected.images, 1000)) == len(inspected.images)


def test_chosen_images_are_of_all_folds():
    images = [
        inspection.Image(image_id=f"i{k:03d}", fold=k % 4, label=k < 60, area=k)
        for k in range(120)
    ]
    folds = collections.Counter(i.fold for i in inspection.choose(images, 24))
    assert len(folds) == 4
    assert max(folds.values()) - min(folds.values()) <= 4


def test_odd_masks_are_shown_with_what_is_odd(dataset, tmp_path):
    """The film of one positive gets a mask over its left half's border."""
    folder = shutil.copytree(dataset / "64", tmp_path / "64")
    name = "train-fold0-positive.tfrecord-00000-of-00001"
    stored = [schema.parse(r) for r in shards.read(folder / name)]
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :20] = 1
    stored[1] = dataclasses.replace(stored[1], mask_bits=schema.pack_mask(mask))
    count, num_bytes, digest = shards.write(
        folder / name, [schema.serialize(r) for r in stored]
    )
    facts = {"num_records": count, "num_bytes": num_bytes, "sha256": digest}
    old = manifest.read_alone(folder)
    listed = [
        dataclasses.replace(s, **facts) if s.name == name else s for s in old.shards
    ]
    manifest.write(folder, dataclasses.replace(old, shards=tuple(listed)))
    before = inspection.inspect(dataset / "64")
    inspected = inspect_page.write(folder, tmp_path / "report", 12)
    odd = {i.image_id: i.odd for i in inspected.images if i.odd}
    reasons = ("covers 31% of the film", "covers 40% of the film's border")
    assert odd == {i.image_id: i.odd for i in before.images if i.odd} | {
        stored[1].image_id: reasons
    }
    text = (tmp_path / "report" / "index.html").read_text()
    assert f"{len(odd)} masks cover" in text
    assert "covers 31% of the film, covers 40% of the film&#39;s border</figcap" in text
    (first, *_) = inspection.choose_odd(inspected.images, 3)
    assert first.image_id == stored[1].image_id
    found = verification.verify(folder)
    assert not found.issues
    assert found.odd_masks == odd
    line = f"look at the mask of {first.image_id}: it {', '.join(reasons)}"
    assert line in found.odd_lines()


def test_names_cannot_break_the_page(written):
    dataset, _ = written
    manifest = dataclasses.replace(dataset.manifest, options={"<script>": '"<b>'})
    hostile = dataclasses.replace(
        dataset, manifest=manifest, quarantined={"<script>": 1}
    )
    page = inspect_page._page(hostile, [], [])
    assert "<script>" not in page
    assert page.count("<td>&lt;script&gt;</td>") == 2
    assert "<b>" not in page


def test_command(dataset, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "data_prep.inspect",
            f"--data={dataset / '32'}",
            f"--output={tmp_path}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()
    assert str(dataset) not in (tmp_path / "index.html").read_text()
