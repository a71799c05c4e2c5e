import pytest

from data_prep.core import shared_files


@pytest.fixture
def slept(monkeypatch):
    seconds = []
    monkeypatch.setattr(shared_files.time, "sleep", seconds.append)
    return seconds


def test_what_is_there_is_not_waited_for(tmp_path, slept):
    assert shared_files.wait(lambda: True, tmp_path, what="it")
    assert not slept


def test_what_comes_later_is_waited_for(tmp_path, slept):
    assert shared_files.wait(lambda: len(slept) == 5, tmp_path, what="it")
    assert len(slept) == 5


def test_what_never_comes(tmp_path, slept):
    assert not shared_files.wait(lambda: False, tmp_path / "missing", what="it")
    assert sum(slept) == shared_files.SECONDS
