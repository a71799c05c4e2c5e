"""What does a cluster cost over this machine's own processes?

    python -m tests.benchmarks.cases.cluster --films=2000 --rounds=3 --nodes=1,2,4

The same films are converted at two sizes by as many processes of this machine as the
cluster has nodes, and by a cluster on this machine whose nodes have one core each.
Whole commands are timed in turn, and their outputs compared. The goal for two nodes,
1.05 at 20 seconds of work and more, is printed as MISSED where it is. Wants an idle
machine; more nodes than it has cores show what one machine cannot do, not what a
cluster can.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

from tests import cluster_conversions
from tests import cluster_nodes
from tests.benchmarks.harness import timing
from tests.cluster_conversions import Conversion

_GOAL = 1.05
_LEAST_SECONDS = 20


def _seconds(conversion: Conversion, output: pathlib.Path, *flags: str) -> float:
    started = time.monotonic()
    conversion.finish(conversion.start(output, *flags))
    return time.monotonic() - started


def _measure(
    conversion: Conversion, num_nodes: int, num_rounds: int
) -> tuple[list[float], list[float]]:
    """Returns the seconds of local commands, and of those on a cluster."""
    local, cluster_ = [], []
    with contextlib.ExitStack() as stack:
        stack.enter_context(cluster_nodes.loopback_only())
        cluster = stack.enter_context(cluster_conversions.make_cluster(conversion))
        for _ in range(num_nodes):
            cluster.add()
        flags = f"--cluster={cluster.address}", "--allow_open_cluster"
        for number in range(num_rounds):
            timing.say(f"{num_nodes} nodes, round {number + 1}")
            output = conversion.folder / f"local{num_nodes}-{number}"
            local.append(_seconds(conversion, output, f"--num_workers={num_nodes}"))
            expected = cluster_conversions.files(output)
            output = conversion.folder / f"cluster{num_nodes}-{number}"
            cluster_.append(_seconds(conversion, output, *flags))
            if cluster_conversions.files(output) != expected:
                raise AssertionError("the outputs differ")
    return local, cluster_


def _row(
    num_films: int, num_nodes: int, local: list[float], cluster_: list[float]
) -> tuple[list[str], bool]:
    """Returns a row of the table, and whether the goal is missed."""
    ours, theirs = statistics.median(local), statistics.median(cluster_)
    goal = verdict = ""
    missed = False
    if num_nodes == 2:
        goal = f"<= {_GOAL}"
        missed = theirs / ours > _GOAL
        verdict = "MISSED" if missed else "met"
        if ours < _LEAST_SECONDS:
            verdict, missed = "too little work", False
    row = [
        str(num_nodes),
        f"{ours:.1f}",
        f"{theirs:.1f} ({min(cluster_):.1f} to {max(cluster_):.1f})",
        f"{num_films / theirs:.0f}",
        f"{theirs / ours:.3f}",
        goal,
        verdict,
    ]
    return row, missed


def main() -> int:
    """Times both sides; returns 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", default="2")
    parser.add_argument("--image_size", type=int, default=1024)
    arguments = parser.parse_args()
    rows, runs, any_missed = [], {}, False
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        timing.say(f"draws {arguments.films} films")
        conversion = Conversion(
            pathlib.Path(folder),
            num_train=arguments.films,
            image_size=arguments.image_size,
            records_per_shard=max(4, arguments.films // 40),
            num_workers=os.cpu_count(),
        )
        for num_nodes in map(int, arguments.nodes.split(",")):
            local, cluster_ = _measure(conversion, num_nodes, arguments.rounds)
            runs[num_nodes] = {"local": local, "cluster": cluster_}
            row, missed = _row(arguments.films, num_nodes, local, cluster_)
            rows.append(row)
            any_missed |= missed
    columns = "nodes", "local, s", "cluster, s", "films/s", "ratio", "goal", "result"
    print(timing.markdown(columns, rows) + "\n")
    machine = timing.machine(("numpy", "opencv-python-headless", "pydicom", "ray"))
    print(json.dumps({"machine": machine, "runs": runs, "load": load}))
    return int(any_missed)


if __name__ == "__main__":
    sys.exit(main())
