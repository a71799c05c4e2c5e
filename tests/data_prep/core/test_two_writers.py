"""Two writers of one file, in every order of their steps, leave one whole file."""

import hashlib
import os
import pathlib
import shutil

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests.data_prep.core import interleaving

# Of different lengths, so that a mixture of both has another hash than each.
TEXTS = (b"a" * 5, b"b" * 9)


@pytest.fixture
def stepwise(monkeypatch):
    """Ends a step before every call that others can see; returns who renamed last."""
    replace, unlink, renamed = pathlib.Path.replace, pathlib.Path.unlink, []

    def sync(_):
        interleaving.step()

    def replace_and_note(path, target):
        interleaving.step()
        replace(path, target)
        renamed.append(hashlib.sha256(target.read_bytes()).hexdigest())

    def unlink_unless_killed(path, **options):
        interleaving.step()
        if not interleaving.is_killed():
            unlink(path, **options)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(pathlib.Path, "replace", replace_and_note)
    monkeypatch.setattr(pathlib.Path, "unlink", unlink_unless_killed)
    return renamed


def writer(path, text):
    """Returns a function that writes a file, and returns what it has hashed."""

    def write():
        with durable.atomic_write(path) as incomplete:
            interleaving.step()
            with incomplete.open("wb", buffering=0) as file:
                interleaving.step()
                file.write(text)
        return hashlib.sha256(text).hexdigest()

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_order_of_two_writers(stepwise, tmp_path):
    count = interleaving.num_steps(writer(tmp_path / "alone", TEXTS[0]))
    # Before open, write, sync, rename, sync of the folder and unlink, and after it.
    assert count == 7
    path = tmp_path / "folder" / "file"
    functions = [writer(path, text) for text in TEXTS]
    # The first step of each and its last ones touch what the other does not.
    middles = list(interleaving.orders(count - 2, count - 2))
    assert len(middles) == 252
    for middle in middles:
        attempts = interleaving.run(functions, (0, 1, *middle))
        reported = [attempt.finish() for attempt in attempts]
        assert reported == [hashlib.sha256(text).hexdigest() for text in TEXTS]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == stepwise[-1]
        assert stepwise[-1] in reported
        assert names(path.parent) == ["file"]
        shutil.rmtree(path.parent)


def test_every_order_with_one_that_is_killed_at_every_step(stepwise, tmp_path):
    path = tmp_path / "folder" / "file"
    functions = [writer(path, text) for text in TEXTS]
    left_behind = 0
    for num_before in range(7):
        for order in interleaving.orders(4, num_before):
            stepwise.clear()
            survivor, other = interleaving.run(functions, order)
            other.kill()
            assert isinstance(other.result, interleaving.Killed)
            reported = survivor.finish()
            assert hashlib.sha256(path.read_bytes()).hexdigest() == stepwise[-1]
            assert reported in stepwise
            left_behind += len(names(path.parent)) > 1
            durable.drop_incomplete(path.parent)
            assert names(path.parent) == ["file"]
            shutil.rmtree(path.parent)
    assert left_behind > 50, "kills leave files"


def test_a_sweep_at_every_step_ends_a_writer_or_comes_after_it(
    stepwise, tmp_path, monkeypatch
):
    """Of another process, which does not know the writer."""
    path = tmp_path / "file"
    outcomes = []
    for num_before in range(1, 8):
        durable.write_bytes(path, b"published")
        (attempt,) = interleaving.run([writer(path, TEXTS[0])], [0] * num_before)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "_unfinished", set())
            durable.drop_incomplete(tmp_path)
            swept = path.read_bytes()
        result = attempt.finish()
        assert path.read_bytes() in (b"published", TEXTS[0])
        if isinstance(result, CommandError):
            assert result.exit_code == ExitCode.CONFLICT
            assert path.read_bytes() == swept == b"published"
        outcomes.append(type(result))
        assert names(tmp_path) == ["file"]
    assert set(outcomes) == {CommandError, str}
