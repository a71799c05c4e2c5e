"""Text of others in a page of a prediction stays text, in a tag and in an attribute."""

import numpy as np
import pytest

from inference.report import prediction_page

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def page():
    summary = prediction_page.Summary({HOSTILE: "1 1", "b": "-1"}, {HOSTILE: 0.5})
    mask = np.zeros((64, 64), np.uint8)
    mask[8:20, 8:20] = 1
    image = np.zeros((64, 64), np.uint8)
    # The dataset checks ids; a page does not rely on it.
    summary.add(HOSTILE, image, mask, "stretch")
    provenance = dict.fromkeys(("members", "classifiers"), [HOSTILE])
    return summary.page(provenance | {"tta": [HOSTILE], "postprocess": HOSTILE})


def test_ids_and_options_are_text(page):
    # Two are the page's own: its viewer, and the list of the films beside it.
    assert page.count("<script") == 2
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "onerror=alert" in page.replace("&gt;", ">")
    # The id in the figure, the view and the post-processing.
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3


def test_the_page_allows_no_script(page):
    """The browser is told, too, for what a template should have missed."""
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page
