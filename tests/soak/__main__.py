"""Runs the trials; see tests/soak/__init__.py."""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence

from tests.soak import fault_layer

# Workers of a conversion import this module, too.
fault_layer.install_in_worker()

PARTS = ("films", "csvs", "kills", "faults", "two_at_once", "lost_workers", "bits")


def _trials(
    folder: pathlib.Path, jobs: Sequence[str], seed: int
) -> dict[str, Callable[[int], str]]:
    """Returns {part: what runs a trial of a number}."""
    from tests.soak import forks
    from tests.soak import inputs
    from tests.soak.bits import Bits
    from tests.soak.jobs import Workshop
    from tests.soak.trials import Trials

    forks.load()
    shop = Workshop(folder / "workshop", jobs)
    trials = Trials(shop, seed)
    return {
        "films": inputs.films,
        "csvs": inputs.csvs,
        "kills": trials.kills,
        "faults": trials.faults,
        "two_at_once": trials.two_at_once,
        "lost_workers": trials.lost_workers,
        "bits": Bits(shop, seed).flip,
    }


def _table(results: list[dict], units: dict[str, int]) -> str:
    lines = ["| part | trials | of them failed | hours |", "|---|---|---|---|"]
    for part in PARTS:
        of_part = [r for r in results if r["part"] == part]
        bad = [r for r in of_part if r["result"] != "ok"]
        hours = sum(r["seconds"] for r in of_part) / 3600
        count = len(of_part) * units.get(part, 1)
        lines.append(f"| {part} | {count:,} | {len(bad)} | {hours:.2f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Runs until the time is over; returns 1 if a trial has failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default="build/soak")
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--trials", type=int, help="of each part, at most")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument(
        "--jobs", default="conversion,training,prediction,tuning", help="of all parts"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one trial, as kills:17")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    run = _trials(args.output.resolve(), args.jobs.split(","), args.seed)
    if args.only:
        part, _, number = args.only.partition(":")
        print(run[part](int(number)))
        return 0
    log = args.output / f"seed{args.seed}.jsonl"
    results = (
        [json.loads(x) for x in log.read_text().splitlines()] if log.exists() else []
    )
    parts = args.parts.split(",")
    done = {part: sum(r["part"] == part for r in results) for part in parts}
    end = time.monotonic() + 3600 * args.hours
    print(f"seed {args.seed}; done before: {done}", flush=True)
    with log.open("a") as file:
        while time.monotonic() < end:
            # The parts take turns by the time that they have had.
            left = [p for p in parts if args.trials is None or done[p] < args.trials]
            if not left:
                break
            part = min(left, key=lambda p: _seconds(results, p))
            began = time.monotonic()
            result = run[part](done[part])
            seconds = round(time.monotonic() - began, 2)
            results.append(
                {
                    "part": part,
                    "number": done[part],
                    "result": result,
                    "seconds": seconds,
                }
            )
            file.write(json.dumps(results[-1]) + "\n")
            file.flush()
            if result != "ok":
                print(f"{part}:{done[part]}: {result}", flush=True)
            done[part] += 1
    from tests.soak import inputs

    print(_table(results, {"films": inputs.FILMS, "csvs": inputs.CSVS}))
    return int(any(r["result"] != "ok" for r in results))


def _seconds(results: list[dict], part: str) -> float:
    return sum(r["seconds"] for r in results if r["part"] == part)


if __name__ == "__main__":
    sys.exit(main())
