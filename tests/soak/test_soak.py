"""A few trials of each kind, and a trial that must fail does."""

import json
import pathlib
import subprocess
import sys

import pytest

from tests.soak import inputs
from tests.soak.trials import OK

ROOT = pathlib.Path(__file__).parents[2]
FAULTS = 3


def soak(output, *flags):
    return subprocess.run(
        [sys.executable, "-m", "tests.soak", f"--output={output}", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_some_trials_go_well_and_are_remembered(tmp_path):
    flags = (
        "--parts=faults,bits",
        "--jobs=conversion",
        f"--trials={FAULTS}",
        "--seed=1",
    )
    done = soak(tmp_path, *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / "seed1.jsonl").read_text().splitlines()
    trials = [(r["part"], r["number"], r["result"]) for r in map(json.loads, log)]
    assert sorted(trials) == [
        (part, number, OK) for part in ("bits", "faults") for number in range(FAULTS)
    ]
    assert f"| bits | {FAULTS} | 0 |" in done.stdout
    # The work is done; other bytes than the expected ones are a failure.
    expected = tmp_path / "workshop" / "expected.json"
    text = expected.read_text()
    name, digest = next(iter(json.loads(text)["conversion"]["expected"].items()))
    expected.write_text(text.replace(digest, "0" * 64))
    again = soak(tmp_path, *flags, "--only=faults:0")
    assert f"['{name}']" in again.stdout, again.stdout + again.stderr
    assert "kept in" in again.stdout


@pytest.mark.parametrize("number", range(2))
def test_no_csv_breaks_a_line_or_the_reader(number):
    assert inputs.csvs(number) == OK


def test_a_csv_reader_that_raises_is_noticed(monkeypatch):
    def read(path):
        raise IndexError("out of range")

    monkeypatch.setattr(inputs.rle_csv, "read", read)
    assert "IndexError" in inputs.csvs(0)


def test_a_film_that_kills_its_worker_is_noticed(monkeypatch):
    monkeypatch.setattr(inputs, "FILMS", 3)
    outcome = inputs.mutants.Outcome(result=inputs.mutants.SILENT, hit=True)

    class Pool:
        def __init__(self, *args, **kwargs):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def imap_ordered(self, function, items):
            return [(item, outcome) for item in items]

    monkeypatch.setattr(inputs.workers, "WorkerPool", Pool)
    assert inputs.films(2).count(inputs.mutants.SILENT) == 3
