"""Progress of long work: a bar on a terminal, lines in a log file."""

import logging
import sys
import time
from collections.abc import Iterable
from collections.abc import Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn

_T = TypeVar("_T")


class Tracker:
    """Counts finished units of work and shows the rate and the remaining time.

    Use it as a context manager; `advance` is cheap enough for every unit.
    """

    def __init__(self, title: str, total: int, *, unit: str, every_seconds: float = 30):
        self._title, self._total, self._unit = title, total, unit
        self._every_seconds = every_seconds
        self._done = 0
        self._bar = self._task = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )

    def __enter__(self) -> "Tracker":
        self._started = self._logged_at = time.monotonic()
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, note="")
        return self

    def __exit__(self, *_) -> None:
        if self._bar:
            self._bar.stop()
        elif self._done:
            self._log()

    def advance(self, units: int = 1, *, note: str = "") -> None:
        """Adds `units`; `note` is a short text such as the current loss."""
        self._done += units
        if self._bar:
            rate = f"{self._rate():.1f} {self._unit}/s {note}"
            self._bar.update(self._task, advance=units, note=rate)
        elif time.monotonic() - self._logged_at > self._every_seconds:
            self._log(note)

    def _rate(self) -> float:
        return self._done / max(1e-9, time.monotonic() - self._started)

    def _log(self, note: str = "") -> None:
        self._logged_at = time.monotonic()
        remaining = max(0, self._total - self._done)
        seconds_left = remaining / max(1e-9, self._rate())
        logging.info(
            "%s: %d of %d %s, %.1f/s, %.0f s left %s",
            self._title,
            self._done,
            self._total,
            self._unit,
            self._rate(),
            seconds_left,
            note,
        )


def tracked(items: Iterable[_T], title: str, total: int, *, unit: str) -> Iterator[_T]:
    """Yields `items`, counting them on a Tracker."""
    with Tracker(title, total, unit=unit) as tracker:
        for item in items:
            tracker.advance()  # Before the yield: a consumer may stop at the last.
            yield item
