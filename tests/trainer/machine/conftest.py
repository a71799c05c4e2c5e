"""What the doctor's fixes say, on any machine: as in a checkout with its pins."""

import pytest

from data_prep.core import installing


@pytest.fixture(autouse=True)
def pinned_tensorflow(monkeypatch):
    monkeypatch.setattr(installing, "tensorflow", lambda: "2.21.0")
