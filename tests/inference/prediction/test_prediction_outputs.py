"""Masks, overlays and a page from a finished submission."""

import dataclasses
import functools

import cv2
import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.dataset import rle
from inference.config import OUTPUTS
from inference.inputs import chunks
from inference.prediction import predict
from inference.prediction import prediction_outputs
from inference.prediction import probability_csv
from inference.prediction.joining import CLASSIFICATION
from tests import browser
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import member
from tests.inference.prediction.test_predict import config
from tests.inference.prediction.test_predict import rows_of
from tests.inference.report.test_film_index import listed


@pytest.fixture
def asked(dataset, tmp_path):
    member(tmp_path / "segmenter", dataset / "32", 1)
    member(tmp_path / "classifier", dataset / "64", 2, model=CLASSIFIER)
    return lambda **changes: config(
        dataset,
        [tmp_path / "segmenter"],
        tmp_path / "out",
        data=(dataset,),
        classifiers=(tmp_path / "classifier",),
        **changes,
    )


@pytest.mark.slow
def test_pictures_may_be_added_later(asked, tmp_path, monkeypatch):
    predict.predict(dataclasses.replace(asked(), output=tmp_path / "ungated"))
    classified = probability_csv.read(tmp_path / "ungated" / CLASSIFICATION)
    asked = functools.partial(
        asked, postprocess=f"gate({sorted(classified.values())[3]})|threshold(0.5)"
    )
    rows = rows_of(asked())
    # Some images have a mask, some do not.
    assert 0 < sum(code != rle.EMPTY for code in rows.values()) < 7
    # No network may run a second time.
    monkeypatch.setattr(chunks, "read", None)
    more = asked(outputs=("csv", "masks", "overlays", "report"))
    predict.predict(more)
    for image_id, code in rows.items():
        mask = cv2.imread(
            str(more.output / "masks" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED
        )
        np.testing.assert_array_equal(mask, rle.decode(code, 128, 128) * 255)
        overlay = cv2.imread(str(more.output / "overlays" / f"{image_id}.png"))
        assert overlay.shape == (768, 768, 3)
        coloured = (overlay.max(axis=-1) - overlay.min(axis=-1)).astype(int) > 60
        assert coloured.any() == (code != rle.EMPTY)
    page = (more.output / "report.html").read_text()
    num_masks = sum(code != rle.EMPTY for code in rows.values())
    assert f"7 images: a mask on {num_masks}" in page
    assert page.count("data:image/jpeg") == num_masks
    films = listed(more.output / "films" / "films.js")
    assert [f["id"] for f in films] == list(rows)
    # That of the classifiers decides, in the films' order.
    assert [f["probability"] for f in films] == [classified[i] for i in rows]
    assert len([*(more.output / "films" / "pictures").iterdir()]) == 7
    assert len([*(more.output / "films" / "masks").iterdir()]) == num_masks


@pytest.mark.slow
def test_probabilities_cannot_be_added_later(asked):
    predict.predict(asked())
    with pytest.raises(CommandError, match="keeps_maps: stored False, asked True"):
        predict.predict(asked(outputs=("csv", "probabilities", "report")))


@pytest.mark.slow
def test_the_page_without_masks(asked):
    job = asked(outputs=("csv", "report"), postprocess="triplet(1, 100000000, 0.5)")
    assert set(rows_of(job).values()) == {rle.EMPTY}
    assert "a mask on 0 (0.0%)" in (job.output / "report.html").read_text()


def test_overlay_draws_only_the_outline():
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    drawn = prediction_outputs.overlay(np.full((64, 64), 100, np.uint8), mask, "pad")
    grey = (drawn == 100).all(axis=-1)
    assert grey[384, 384]
    assert grey[20, 20]
    assert not grey[384, 190:196].all()


def test_every_output_is_made_somewhere():
    others = {"csv", "probabilities", "report", "dicom_seg"}
    assert set(OUTPUTS) == set(prediction_outputs.PICTURES) | others


def test_refuses_outputs_that_cannot_be_made(asked):
    with pytest.raises(ConfigError, match="outputs=movie"):
        asked(outputs=("movie",))
    with pytest.raises(ConfigError, match="outputs=masks"):
        asked(outputs=("masks",), split="out_of_fold")


@pytest.mark.slow
@pytest.mark.skipif(browser.find() is None, reason="no browser is installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(asked, tmp_path, width):
    job = asked(outputs=("csv", "probabilities", "report"))
    rows = rows_of(job)
    page = job.output / "report.html"
    # Beside the films, which the page loads.
    aside = job.output / f"page-{width}.html"
    opened = browser.open_page(page, aside, width=width)
    assert opened.console == []
    masks = sum(code != rle.EMPTY for code in rows.values())
    assert masks > 0
    seen = zip(opened.seen["alts"], opened.seen["pictures"], strict=True)
    assert [shown for alt, shown in seen if alt] == [True] * masks
    assert opened.seen["drawings"] == 2
    places = {"/".join(url.split("/")[3:-1]) for url in opened.seen["loads"]}
    # The list; and small pictures only where the window reaches them.
    assert {"films"} <= places <= {"films", "films/thumbs"}
    assert opened.seen["width"] == width
    assert opened.seen["content_width"] <= width
    films = listed(job.output / "films" / "films.js")
    assert all(film["heat"] for film in films)
