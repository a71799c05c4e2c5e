"""Makes the doctor's fixes those of a checkout with its pins, on any machine."""

import pytest

from data_prep.core import installing


@pytest.fixture(autouse=True)
def pinned_tensorflow(monkeypatch):
    monkeypatch.setattr(installing, "tensorflow", lambda: "2.21.0")
