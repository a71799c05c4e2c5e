"""Deterministic runs: two of them, and one that was stopped and went on."""

import csv
import pathlib

import h5py
import numpy as np

from tests.gpu import runs
from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import Session

FLAG = "--deterministic=true"
RESUMED = "deterministic: a resumed run equals an uninterrupted one"
TWICE = "deterministic: two runs are equal"
_WEIGHTS = ("best", "last", "swa")
# What a row of the log says about time and not about weights.
_TIMED = ("second", "wait", "hour")


def repeat(session: Session) -> list[Row]:
    """Trains three times at once: twice to the end, and once with a stop."""
    whole, second, stopped = (
        session.folder / n for n in ("whole", "second", "stopped")
    )
    ends = [
        session.start(runs.train_arguments(session, path, FLAG))
        for path in (whole, second)
    ]
    try:
        first = runs.stop(session, stopped, FLAG)
        last = runs.resume(session, stopped, FLAG)
        seconds = [session.finish(running, runs.LIMIT_S).seconds for running in ends]
    finally:
        for running in ends:
            running.close()
    return [
        _compared(TWICE, whole, second, max(seconds)),
        _compared(RESUMED, whole, stopped, first.seconds + last.seconds),
    ]


def differences(one: pathlib.Path, other: pathlib.Path) -> dict[str, str]:
    """Returns {file: how it differs} of two run folders.

    Weights are compared bit by bit, and the log's losses and scores digit by digit.
    """
    found = {}
    for name in _WEIGHTS:
        pair = [_weights(run / f"{name}.weights.h5") for run in (one, other)]
        if pair[0].keys() != pair[1].keys():
            found[name] = "other variables"
            continue
        unequal = [
            key
            for key, value in pair[0].items()
            if value.tobytes() != pair[1][key].tobytes()
        ]
        if unequal:
            most = max(float(np.abs(pair[0][k] - pair[1][k]).max()) for k in unequal)
            found[name] = f"{len(unequal)} of {len(pair[0])} weights, by up to {most:g}"
    logs = [_log(run / "log.csv") for run in (one, other)]
    if logs[0] != logs[1]:
        found["log.csv"] = "other losses or scores"
    return found


def _compared(what: str, one: pathlib.Path, other: pathlib.Path, seconds: float) -> Row:
    found = differences(one, other)
    return Row(
        what=what,
        result=BAD if found else OK,
        figure=f"{len(found)} of {len(_WEIGHTS) + 1} files differ",
        seconds=seconds,
        note="; ".join(f"{name}: {how}" for name, how in found.items())
        or "weights bit for bit, losses and scores to the last digit",
    )


def _weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    arrays = {}
    with h5py.File(path) as file:

        def visit(name, node):
            if isinstance(node, h5py.Dataset):
                arrays[name] = node[()]

        file.visititems(visit)
    return arrays


def _log(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [
            {k: v for k, v in row.items() if not any(word in k for word in _TIMED)}
            for row in csv.DictReader(file)
        ]


CHECK = Check(name="repeats", run=repeat, titles=(TWICE, RESUMED), after=("data",))
