"""What does a cluster cost over this machine's own processes?

    python -m tests.benchmarks.cases.cluster --films=400 --rounds=3

The same films are converted at two sizes by two processes of this machine, and by a
cluster of two nodes with one core each on this machine; whole commands are timed in
turn. The goal, 1.05 at 20 seconds of work and more, is printed as MISSED where it is.
Wants an idle machine.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

from tests import cluster_conversions
from tests import cluster_nodes
from tests.cluster_conversions import Conversion

_GOAL = 1.05
_LEAST_SECONDS = 20


def _seconds(conversion: Conversion, output: pathlib.Path, *flags: str) -> float:
    started = time.monotonic()
    conversion.finish(conversion.start(output, *flags))
    return time.monotonic() - started


def main() -> int:
    """Times both sides; returns 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image_size", type=int, default=1024)
    arguments = parser.parse_args()
    local, cluster_ = [], []
    with tempfile.TemporaryDirectory() as folder:
        conversion = Conversion(
            pathlib.Path(folder),
            num_train=arguments.films,
            image_size=arguments.image_size,
            records_per_shard=max(4, arguments.films // 40),
        )
        with (
            cluster_nodes.loopback_only(),
            cluster_conversions.make_cluster(conversion) as cluster,
        ):
            for _ in range(2):
                cluster.add()
            flags = f"--cluster={cluster.address}", "--allow_open_cluster"
            for number in range(arguments.rounds):
                output = conversion.folder / f"local{number}"
                local.append(_seconds(conversion, output, "--num_workers=2"))
                expected = cluster_conversions.files(output)
                output = conversion.folder / f"cluster{number}"
                cluster_.append(_seconds(conversion, output, *flags))
                if cluster_conversions.files(output) != expected:
                    raise AssertionError("the outputs differ")
    ratio = statistics.median(cluster_) / statistics.median(local)
    print("local, 2 processes:", *(f"{s:.1f} s" for s in local))
    print("cluster, 2 nodes of one core:", *(f"{s:.1f} s" for s in cluster_))
    if statistics.median(local) < _LEAST_SECONDS:
        print(f"cluster / local = {ratio:.3f}; too little work for the goal")
        return 0
    missed = ratio > _GOAL
    print(f"cluster / local = {ratio:.3f} (goal {_GOAL}){' MISSED' * missed}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
