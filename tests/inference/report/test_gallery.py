import re

import cv2
import numpy as np
import pytest

from inference.report import gallery
from inference.report.cases import Scores


def scores(rows):
    """Columns from (Dice, true area, predicted area)."""
    table = np.array(rows, np.float64)
    return Scores(
        ids=tuple(f"i{k}" for k in range(len(rows))),
        dice=table[:, 0],
        truth_area=table[:, 1],
        predicted_area=table[:, 2],
    )


def test_cases_are_chosen_by_kind():
    rows = [(0, 10, 0), (0, 90, 0), (0, 50, 0)]  # missed
    rows += [(0, 0, 5), (0, 0, 7)]  # false alarms
    rows += [(d, 9, 9) for d in (0.5, 0.9, 0.2, 0.7)]  # found
    rows += [(1, 0, 0)] * 3
    found = gallery.choose(scores(rows), 8)
    assert found == {
        "missed": [1, 2],
        "false_alarms": [4, 3],
        "worst": [7, 5],
        "best": [6, 8],
    }


def test_few_found_are_not_shown_twice():
    assert gallery.choose(scores([(0.5, 9, 9)]), 24)["worst"] == []
    found = gallery.choose(scores([(0.5, 9, 9), (0.6, 9, 9), (0.7, 9, 9)]), 24)
    assert found["best"] == [2, 1]
    assert found["worst"] == [0]
    assert gallery.choose(scores([(1, 0, 0)]), 24)["missed"] == []


def filled(path, size):
    """Draws the polygons of an outline back to a mask, by the even-odd rule."""
    polygons = [
        np.array(re.findall(r"([\d.]+) ([\d.]+)", part), np.float64)
        for part in path.split("Z")
        if part
    ]
    canvas = np.zeros((size, size), np.uint8)
    for points in polygons:
        one = np.zeros_like(canvas)
        cv2.fillPoly(one, [np.round(points - 0.5).astype(np.int32)], 1)
        canvas ^= one
    return canvas


@pytest.mark.parametrize("source", [64, 128, 512])
def test_outline_encloses_the_mask(source):
    mask = np.zeros((source, source), np.uint8)
    mask[source // 4 : source // 2, source // 8 : source // 2] = 1
    mask[3 * source // 4, 3 * source // 4] = 1
    size = 128
    expected = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    found = filled(gallery.outline(mask, size), size)
    # The line runs through the middles of the border's pixels.
    assert np.abs(found.astype(int) - expected).sum() <= 4 * size
    assert (found & expected).sum() > 0.85 * expected.sum()


def test_outline_has_holes():
    mask = np.zeros((64, 64), np.uint8)
    mask[10:50, 10:50] = 1
    mask[20:40, 20:40] = 0
    path = gallery.outline(mask, 64)
    assert path.count("M") == path.count("Z") == 2
    assert not filled(path, 64)[25:35, 25:35].any()


def test_one_pixel_is_seen_and_none_is_not():
    mask = np.zeros((1024, 1024), np.uint8)
    assert gallery.outline(mask, 448) == ""
    mask[700, 300] = 1
    assert gallery.outline(mask, 448).startswith("M131.")
    mask = np.zeros((16, 16), np.uint8)
    mask[2, 5] = 1
    assert gallery.outline(mask, 16) == "M5.5 2.5L5.5 2.5Z"


def test_figure_cannot_break_the_page():
    square = np.zeros((32, 32), np.uint8)
    drawn = gallery.figure(
        gallery.Tile(
            image=square,
            truth=square,
            prediction=square,
            alt='a"><script>',
            caption="<b>",
            image_id="<i>",
        )
    )
    assert not re.search(r"<script|<b>|<i>", drawn)
    assert "<path" not in drawn
