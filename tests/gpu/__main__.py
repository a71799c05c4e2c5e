"""Checks once, on a machine with a GPU, that all works there as it does on a CPU.

    python -m tests.gpu [--json=FILE] [--folder=DIR] [--only=REGEX]

Devices; training with default flags, stopped and resumed, prediction and evaluation;
CPU and GPU agree; float16, bfloat16 and XLA train; two logical GPUs have the losses of
one; deterministic runs and predictions repeat bit by bit; then the short form of the
GPU benchmark, beside PyTorch where that is installed. Takes under six minutes on one
card. Prints a table; a row is ok, BAD or unmeasured, and a benchmark's row met, MISSED
or unmeasured. Exit code 1 where a row is BAD. Without a GPU every row is unmeasured,
and the exit code is 0. --device=cpu tries all of it on two logical CPUs, with networks
so small that the figures mean nothing.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

from tests.benchmarks.harness import timing
from tests.gpu import checks
from tests.gpu import devices
from tests.gpu import numerics
from tests.gpu import pixels
from tests.gpu import repeats
from tests.gpu import runs
from tests.gpu import session as sessions
from tests.gpu import speed
from tests.gpu import split
from tests.gpu.checks import BAD
from tests.gpu.checks import UNMEASURED
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import Session

# In the order of the table; each comes after those whose files it needs.
CHECKS: tuple[Check, ...] = (
    devices.CHECK,
    runs.DATA_SET,
    numerics.CHECK,
    split.CHECK,
    runs.TRAINING,
    repeats.CHECK,
    *runs.PREDICTION,
    pixels.CHECK,
    speed.CHECK,
)
LIMIT_S = 350
# A process of TensorFlow keeps about four cores busy while it traces.
_CORES_A_LANE, _MOST_LANES = 4, 4


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for the rows")
    parser.add_argument("--folder", type=pathlib.Path, help="keeps what is written")
    parser.add_argument("--only", default="", help="regular expression of checks")
    parser.add_argument("--limit_s", type=float, default=LIMIT_S)
    parser.add_argument(
        "--device",
        choices=(sessions.GPU, sessions.CPU),
        default=sessions.GPU,
        help="cpu tries the code on logical CPUs; its figures mean nothing",
    )
    args = parser.parse_args(arguments)
    chosen = checks.select(CHECKS, args.only)
    if not chosen:
        names = ", ".join(c.name for c in CHECKS)
        parser.error(f"--only={args.only} is none of {names}")
    # As Ctrl-C: the checks' processes end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = time.monotonic()
    rows = _run(args, chosen, started + args.limit_s)
    seconds = time.monotonic() - started
    print(checks.markdown(rows))
    print(f"\n{summary(rows)} in {seconds:.0f} s on {args.device}")
    if args.json:
        report = {
            "device": args.device,
            "seconds": seconds,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(row.result == BAD for row in rows))


def _run(args, chosen: list[Check], deadline: float) -> list[Row]:
    if args.device == sessions.GPU and (why := devices.no_gpu()):
        timing.say(f"{UNMEASURED}: {why}")
        return checks.unmeasured(chosen, why)
    lanes = len(os.sched_getaffinity(0)) // _CORES_A_LANE
    on_cpu = args.device == sessions.CPU
    with _folder(args.folder) as folder:
        session = Session(
            device=args.device,
            folder=folder,
            deadline=deadline,
            scale=sessions.TINY if on_cpu else sessions.Scale(),
        )
        with contextlib.closing(session):
            return checks.run(chosen, session, lanes=max(1, min(_MOST_LANES, lanes)))


def _folder(given: pathlib.Path | None):
    """Returns a context manager for an empty folder, which is deleted if not given."""
    if given is None:
        return _temporary()
    given = given.absolute()
    given.mkdir(parents=True, exist_ok=True)
    if any(given.iterdir()):
        raise SystemExit(f"{given} is not empty: choose another --folder, or delete it")
    return contextlib.nullcontext(given)


@contextlib.contextmanager
def _temporary():
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        yield pathlib.Path(name)


def summary(rows: list[Row]) -> str:
    """Returns how many rows have which result."""
    results = [row.result for row in rows]
    counts = {name: results.count(name) for name in dict.fromkeys(results)}
    return ", ".join(f"{count} {name}" for name, count in counts.items())


if __name__ == "__main__":
    sys.exit(main())
