import numpy as np

from data_prep.core import outlines
from data_prep.dataset import rle
from inference.report import pictures
from inference.report.cases import Case


def test_chosen_pictures_span_the_range():
    cases = {f"p{k:02d}": (k / 30, True) for k in range(30)}
    cases |= {f"n{k:02d}": (1.0, False) for k in range(30)} | {"false": (0.0, False)}
    chosen = pictures.choose(cases, 12)
    assert len(chosen) == 12
    assert {"p00", "p29", "false"} <= set(chosen)
    assert sum(i.startswith("p") for i in chosen) == 9
    assert len(pictures.choose(cases, 1000)) == 61


def test_sheet_shows_outlines():
    truth = np.zeros((64, 64), np.uint8)
    truth[10:30, 10:30] = 1
    case = Case(
        image_id="a", truth=truth, prediction=rle.decode("-1", 64, 64), dice=0.0
    )
    image = np.full((32, 32), 99, np.uint8)
    sheet = pictures.sheet([(case, image)], lambda mask: mask)
    assert sheet.dtype == np.uint8
    green = (sheet == outlines.TRUTH).all(axis=-1)
    assert green.sum() > 100
