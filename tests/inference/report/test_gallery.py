import re

import numpy as np

from inference.report import gallery
from inference.report.cases import Scores


def scores(rows):
    """Returns the scores of rows of (Dice, true area, predicted area)."""
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
    chosen = gallery.choose(scores(rows), 8)
    assert chosen == {
        "missed": [1, 2],
        "false_alarms": [4, 3],
        "worst": [7, 5],
        "best": [6, 8],
    }


def test_few_found_are_not_shown_twice():
    assert gallery.choose(scores([(0.5, 9, 9)]), 24)["worst"] == []
    chosen = gallery.choose(scores([(0.5, 9, 9), (0.6, 9, 9), (0.7, 9, 9)]), 24)
    assert chosen["best"] == [2, 1]
    assert chosen["worst"] == [0]
    assert gallery.choose(scores([(1, 0, 0)]), 24)["missed"] == []


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
