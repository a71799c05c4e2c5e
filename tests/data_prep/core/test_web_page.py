import base64

import cv2
import jinja2
import numpy as np
import pytest

from data_prep.core import web_page


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_picture_carries_its_pixels(kind):
    pixels = np.full((8, 16, 3), (10, 100, 200), np.uint8)
    picture = web_page.picture(pixels, kind=kind, quality=100)
    assert (picture.width, picture.height) == (16, 8)
    start = f"data:image/{kind};base64,"
    assert picture.src.startswith(start)
    data = np.frombuffer(base64.b64decode(picture.src.removeprefix(start)), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    np.testing.assert_allclose(decoded.astype(int), pixels, atol=2)


def test_text_is_escaped_and_html_of_templates_is_not():
    parts = web_page.template("data_prep.core", "parts.html.j2").module
    picture = web_page.picture(np.zeros((2, 2), np.uint8))
    image = parts.image(picture, '"><b>')
    assert image.startswith('<img alt="&#34;&gt;&lt;b&gt;" width="2"')
    table = parts.table(("<i>",), caller=lambda: image)
    assert "<th>&lt;i&gt;</th>" in table
    assert image in table


def test_a_value_that_is_missing_stops_the_page():
    page = web_page.template("data_prep.view", "inspect.html.j2")
    with pytest.raises(jinja2.UndefinedError, match="'manifest' is undefined"):
        page.render()
