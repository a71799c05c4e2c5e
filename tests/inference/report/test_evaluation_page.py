"""The evaluation page, parsed and in a browser: wide, narrow and dark."""

import html.parser
import re

import numpy as np
import pytest

from data_prep.dataset import rle
from data_prep.dataset.reading import DatasetReader
from data_prep.labels import rle_csv
from data_prep.phantom import synthetic_folder
from inference.evaluation import evaluate
from inference.report import evaluation_page
from tests import browser
from tests.inference.evaluation.test_evaluate import SIDE
from tests.inference.evaluation.test_evaluate import config
from tests.inference.evaluation.test_evaluate import masks
from tests.inference.evaluation.test_evaluate import write_tables

VOID = {"meta", "img", "input", "br"}
needs_browser = pytest.mark.skipif(
    browser.find() is None, reason=f"none of {browser.NAMES} is installed"
)


class Parser(html.parser.HTMLParser):
    """Checks that tags are balanced; collects texts and the alt texts of images."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.alts = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)
        if tag == "img":
            self.alts.append(dict(attrs)["alt"])

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parsed(path):
    parser = Parser()
    parser.feed(path.read_text().removeprefix("<!doctype html>"))
    assert not parser.open
    return parser


@pytest.fixture(scope="module")
def written(source, dataset, tmp_path_factory):
    """Every part of the page, with two missed lesions and two false alarms."""
    folder = tmp_path_factory.mktemp("report")
    truth = source / synthetic_folder.TRAIN_CSV
    known = {r.image_id for r in DatasetReader(dataset / "64").records()}
    rows = {i: m for i, m in masks(truth).items() if i in known}
    positive = [i for i, m in rows.items() if m.any()]
    empty = [i for i, m in rows.items() if not m.any()]
    for k, i in enumerate(positive):
        rows[i] = np.roll(rows[i], k, axis=0)
    for i in positive[:2]:
        rows[i] = np.zeros((SIDE, SIDE), np.uint8)
    for i in empty[:2]:
        rows[i][40:60, 40:60] = 1
    ids = folder / "ids.txt"
    ids.write_text("\n".join(rows))
    settings = config(
        folder / "x",
        truth,
        rows,
        data=dataset / "64",
        ids=ids,
        num_pictures=12,
        **write_tables(folder / "tables", rows),
    )
    return settings, evaluate.evaluate(settings)


@pytest.fixture
def report(written):
    return written[0].output / "report.html"


def test_page_is_complete_and_self_contained(written, report):
    _, evaluation = written
    text = report.read_text()
    parser = parsed(report)
    assert not re.search(r"https?:|<script|<link|@import|url\(", text)
    score = evaluation["scores"]["dice"]
    assert f"{score['value']:.3f}" in parser.texts
    shown = [case for kind in evaluation["cases"].values() for case in kind]
    assert len(parser.alts) == len(shown)
    for case, alt in zip(shown, parser.alts, strict=True):
        assert case["image_id"] in alt
        assert f"Dice {case['dice']:.2f}" in alt
    for kind, truths, predictions in (
        ("missed", 2, 0),
        ("false_alarms", 0, 2),
    ):
        assert len(evaluation["cases"][kind]) == 2
        part = section(text, kind.replace("_", " ").capitalize())
        assert part.count('<path class="truth"') == truths
        assert part.count('<path class="prediction"') == predictions


def test_groups_of_a_csv_of_others_are_text(written):
    _, evaluation = written
    hostile = "\"'><script>alert(1)</script>"
    assert evaluation["subgroups"]
    groups = {
        f"{column} {hostile}": [row | {"value": f"{hostile}1"} for row in rows]
        for column, rows in evaluation["subgroups"].items()
    }
    text = evaluation_page.page(evaluation | {"subgroups": groups}, None)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;1" in text


def section(text, title):
    return text.split(f"<h3>{title}</h3>")[1].split("<h3>")[0]


def test_without_pictures_the_cases_are_a_table(source, tmp_path):
    truth = source / synthetic_folder.TEST_CSV
    empty = dict.fromkeys(rle_csv.read(truth), rle.EMPTY)
    settings = config(tmp_path / "x", truth, empty)
    evaluation = evaluate.evaluate(settings)
    parser = parsed(settings.output / "report.html")
    assert parser.alts == []
    assert evaluation["cases"]["missed"]
    for case in evaluation["cases"]["missed"]:
        assert case["image_id"] in parser.texts
    assert "None." in parser.texts


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_in_a_browser(written, report, tmp_path, width, dark):
    _, evaluation = written
    opened = browser.open_page(report, tmp_path / "page.html", width=width, dark=dark)
    assert opened.console == []
    seen = opened.seen
    shown = sum(map(len, evaluation["cases"].values()))
    assert seen["pictures"] == [True] * shown
    assert all(seen["alts"])
    # 3 charts of lesion sizes, 4 of probabilities, 1 per subgroup column.
    assert seen["drawings"] == 9
    assert seen["loads"] == []
    assert seen["width"] == width
    assert seen["content_width"] <= width, "the page scrolls sideways"
    assert seen["dark"] == dark
    assert (seen["paper"] == "rgb(255, 255, 255)") == (not dark)


@needs_browser
def test_the_browser_would_notice(tmp_path):
    """The browser reports a broken picture, a load and a script error."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><html><head></head><body>"
        '<img alt="x" src="data:image/png;base64,AAAA"><img alt="" src="other.png">'
        '<p style="width: 900px">wide</p><script>nothing.at.all</script>'
        "</body></html>"
    )
    opened = browser.open_page(page, tmp_path / "page.html", width=390)
    assert opened.seen["pictures"] == [False, False]
    assert not all(opened.seen["alts"])
    assert [load.rpartition("/")[2] for load in opened.seen["loads"]] == ["other.png"]
    assert opened.seen["content_width"] > 390
    assert any("nothing is not defined" in line for line in opened.console)
    assert opened.seen["width"] == 390
