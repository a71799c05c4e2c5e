"""Sides that are prepared together and measured one at a time, with time limits.

On a GPU a side needs a minute to import, trace and choose kernels, and seconds to
measure. Several prepare side by side; then the others wait while one is measured. A
side's module calls `serve`; the benchmark has a `Prepared` for each.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.fixtures import source_files

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


class SideFailed(Exception):
    """A side ended or took too long; the message is one line that says which."""


class Prepared:
    """One side's process."""

    def __init__(self, module: str, arguments: Sequence[str], **environment: str):
        """Starts the process, and does not wait for it.

        Args:
          module: the module that calls `serve`.
          arguments: its command-line arguments.
          **environment: environment variables to set.
        """
        # `close` closes it when the process ends.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=source_files.ROOT,
            env=os.environ | _QUIET | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ready(self, deadline: float) -> dict[str, Any]:
        """Waits until the side is prepared; returns what it says about itself.

        Args:
          deadline: `time.monotonic()` at which it is given up.

        Raises:
          SideFailed: it ended, or was not ready in time.
        """
        return self._answer(deadline, "not ready in time")

    def measure(self, deadline: float) -> dict[str, Any]:
        """Measures once; as `ready`."""
        with contextlib.suppress(BrokenPipeError):  # `_answer` says why.
            print("measure", file=self._process.stdin, flush=True)
        return self._answer(deadline, "not measured in time")

    def close(self) -> None:
        """Ends the process; a second call does nothing."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()

    def _answer(self, deadline: float, late: str) -> dict[str, Any]:
        left_s = max(0.0, deadline - time.monotonic())
        # A side writes one whole line a time, and only when it is asked.
        if not select.select([self._process.stdout], [], [], left_s)[0]:
            self.close()
            raise SideFailed(late)
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines() or ["it said nothing"]
        self.close()
        raise SideFailed(f"exit code {code}: {said[-1]}".replace("|", "/")[:300])


def serve(prepare: Callable[[], tuple[Callable[[], Any], dict[str, Any]]]) -> None:
    """Prepares a side, and measures at each request until stdin ends.

    Args:
      prepare: returns the function that measures once, whose result is JSON, and facts
        about the side.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Libraries must not print into the answers.
    measure, facts = prepare()
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), file=answers, flush=True)
