import re

import numpy as np

from data_prep.core import web_page
from data_prep.core.charts import Curve
from data_prep.core.charts import Whisker

charts = web_page.template("data_prep.core", "charts.html.j2").module


def test_a_curve_goes_through_its_points():
    x, y = np.array([0, 0.5, 0.75, 1]), np.array([0, 0.25, np.nan, 1])
    drawn = charts.curves([Curve(name="a", x=x, y=y, dots=True)], "right", "up")
    (path,) = re.findall(r'class="curve c0" d="M ([^"]*)"', drawn)
    points = np.array([p.split() for p in path.split(" L ")], np.float64)
    # The corners of the grid are (40, 312) and (340, 12).
    np.testing.assert_allclose(points, [[40, 312], [190, 237], [340, 12]])
    assert drawn.count("<circle") == 3
    assert "nan" not in drawn


def test_several_curves_have_a_legend_within_the_picture():
    line = Curve(name="<one>", x=np.arange(2), y=np.arange(2))
    drawn = charts.curves([line] * 4, "x", "y")
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', drawn)[1])
    lowest = max(float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)"', drawn))
    assert lowest <= height - 4
    assert drawn.count("&lt;one&gt;</text>") == 4
    assert "<one>" not in drawn
    nothing = Curve(name="x", x=np.array([np.nan]), y=np.array([np.nan]))
    assert 'class="curve' not in charts.curves([nothing], "x", "y")


def test_whiskers_show_what_there_is():
    rows = [
        Whisker(name="all", value=0.5, low=0.25, high=1.0),
        Whisker(name="one image", value=1.0, low=None, high=None),
        Whisker(name="nothing of a very long name", value=None, low=None, high=None),
    ]
    drawn = charts.whiskers(rows, "Dice")
    assert re.findall(r'curve c0" d="M ([\d.]+) [\d.]+ H ([\d.]+)"', drawn) == [
        ("169.5", "342.0")
    ]
    assert drawn.count("<circle") == 2
    assert 'aria-label="Dice: all 0.50, one image 1.00"' in drawn
    assert "nothing of a very…</text>" in drawn


def test_bars_are_as_tall_as_their_counts():
    drawn = charts.bars(np.array([1, 4, 0]), ["a", "b", "c"], "letters")
    heights = [float(h) for h in re.findall(r' height="([\d.]+)"/>', drawn)]
    assert heights == [37.0, 148.0, 0.0]
