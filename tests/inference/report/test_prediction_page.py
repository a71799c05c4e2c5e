"""The page of a prediction, without a browser."""

import base64
import hashlib
import html
import re

from inference.report import prediction_page

PROVENANCE = {"members": ["m"], "tta": ["none"], "classifiers": [], "postprocess": "p"}


def test_the_page_runs_its_own_script_alone_and_needs_no_network():
    page = prediction_page.Summary({"a": "-1"}, None).page(PROVENANCE)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = html.unescape(re.search(r'Policy"\s+content="([^"]*)"', page)[1])
    assert policy == (
        "default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'; "
        f"script-src 'self' file: 'sha256-{digest}'"
    )
    assert re.findall(r"<script src=[^>]*>", page) == ['<script src="films/films.js">']
    assert not re.search(r"https?:|//cdn|@import", page)
    assert page.count("Not a medical device") == 2
    # A browser of 2019 knows neither.
    assert not re.search(r"\?\.[a-z(\[]|\?\?", script)
    assert len(script.splitlines()) < 400
