"""Runs the commands of a check, each in a process that ends at its time limit."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import IO
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
GPU, CPU = "gpu", "cpu"
TIME_IS_OVER = "the time of the whole check was over"
# Environment of a process that must not see a GPU, nor warn that it sees none.
WITHOUT_GPU = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "PNEUMOTHORAX_WARNED_OF_IDLE_GPUS": "1",
}
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
_POLL_S = 0.002


class _Ended(Exception):
    """A check ends before it has all of its rows.

    Attributes:
      rows: those that it has.
    """

    rows: Sequence[Any] = ()


class CheckFailed(_Ended):
    """The check found a fault; the message goes into the rows that are missing."""


class OutOfTime(_Ended):
    """The time of the whole command is over, which is no fault of the check."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is computed.

    Attributes:
      num_train: number of labelled films.
      num_test: number of films to predict.
      source_size: side of the films, in pixels.
      size: side of the images that the networks get, in pixels.
      model: arguments that choose the network of the runs.
      network: spec of the network whose single step is compared.
      small: spec of a network that XLA compiles within seconds.
    """

    num_train: int = 120
    num_test: int = 24
    source_size: int = 512
    size: int = 128
    model: tuple[str, ...] = ()
    network: str = (
        "uefficientnetpp(encoder=b0, dropout=0, shallow_dropout=0, drop_connect=0)"
    )
    small: str = "unet(starting_filters=8, n_pools=3)"


_TINY = "unet(starting_filters=4, n_pools=2)"
TINY = Scale(
    num_train=36,
    num_test=4,
    source_size=128,
    size=32,
    model=(f"--model={_TINY}",),
    network=_TINY,
    small=_TINY,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    """A process that has ended.

    Attributes:
      code: its exit code.
      output: its stdout.
      errors: its stderr.
      seconds: its duration.
    """

    code: int
    output: str
    errors: str
    seconds: float

    @property
    def reason(self) -> str:
        """The last line of its errors, without what would break a table."""
        lines = self.errors.strip().splitlines() or ["it said nothing"]
        return lines[-1].replace("|", "/").strip()[:300]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """A process that `Session.start` started, and the files that it writes to."""

    process: subprocess.Popen
    out: IO[str]
    err: IO[str]
    started: float

    def close(self) -> tuple[str, str]:
        """Kills what is left of the process group; returns stdout and stderr, once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.out.closed:
            return "", ""
        texts = []
        for file in (self.out, self.err):
            with file:
                file.seek(0)
                texts.append(file.read())
        return texts[0], texts[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """What all checks share.

    Attributes:
      device: GPU, or CPU to try the code on two logical CPUs.
      folder: folder for everything that the checks write.
      deadline: `time.monotonic()` at which the command ends.
      scale: how much is computed.
      background: {check: process that was started before its turn}.
      started: all processes, for `close`.
    """

    device: str
    folder: pathlib.Path
    deadline: float
    scale: Scale = Scale()
    background: dict[str, Running] = dataclasses.field(default_factory=dict)
    started: list[Running] = dataclasses.field(default_factory=list)

    @property
    def needs_gpu(self) -> list[str]:
        """The flag with which a command fails where it would run on the CPU."""
        return [] if self.on_cpu else ["--require_gpu"]

    @property
    def on_cpu(self) -> bool:
        """Whether logical CPUs replace the GPU."""
        return self.device == CPU

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> "Running":
        """Starts `python -m ARGUMENTS` as the leader of a new process group."""
        given = dict(WITHOUT_GPU) if self.on_cpu else {}
        # Files and not pipes, which a process could fill while nobody reads them.
        out, err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=os.environ | _QUIET | given | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        running = Running(process=process, out=out, err=err, started=time.monotonic())
        self.started.append(running)
        return running

    def finish(self, running: "Running", limit_s: float) -> Done:
        """Waits for a process, and kills it and its children at the time limit.

        Raises:
          CheckFailed: it took longer than `limit_s` since its start.
          OutOfTime: the whole command's time was over before that.
        """
        end = running.started + limit_s
        until = min(end, self.deadline)
        try:
            running.process.wait(timeout=max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired as e:
            if self.deadline < end:
                raise OutOfTime(TIME_IS_OVER) from e
            raise CheckFailed(f"not done in {limit_s:.0f} s") from e
        finally:
            output, errors = running.close()
        return Done(
            code=running.process.returncode,
            output=output,
            errors=errors,
            seconds=time.monotonic() - running.started,
        )

    def close(self) -> None:
        """Ends what still runs."""
        for running in self.started:
            running.close()

    def run(
        self,
        arguments: Sequence[str],
        *,
        limit_s: float,
        environment: Mapping[str, str] | None = None,
        expected: int = 0,
    ) -> Done:
        """Runs `python -m ARGUMENTS` to its end.

        Raises:
          CheckFailed: another exit code than `expected`, or the time limit.
          OutOfTime: see `finish`.
        """
        done = self.finish(self.start(arguments, environment), limit_s)
        if done.code != expected:
            raise CheckFailed(
                f"{arguments[0]}: exit code {done.code}, not {expected}: {done.reason}"
            )
        return done

    def stop_when(
        self, arguments: Sequence[str], ready: pathlib.Path, *, limit_s: float
    ) -> Done:
        """Starts a command, and sends it SIGTERM once `ready` holds a second line.

        Raises:
          CheckFailed: it ended before, or the time limit.
          OutOfTime: see `finish`.
        """
        running = self.start(arguments)
        until = min(running.started + limit_s, self.deadline)
        try:
            while running.process.poll() is None and time.monotonic() < until:
                if _has_rows(ready):
                    running.process.send_signal(signal.SIGTERM)
                    break
                time.sleep(_POLL_S)
        except BaseException:
            running.close()
            raise
        return self.finish(running, limit_s)


def _has_rows(path: pathlib.Path) -> bool:
    try:
        return path.read_bytes().count(b"\n") > 1
    except OSError:
        return False
