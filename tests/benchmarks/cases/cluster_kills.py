"""Does a conversion on a cluster survive kills at random moments?

    python -m tests.benchmarks.cases.cluster_kills --kills=10

A cluster on this machine converts the same films until so many kills of each kind have
hit a conversion at work: of a process that has a shard open, of a node (another
is started), of the driver (the same command is started again). Each output must have
the bytes that one machine makes. It ends with 1 where one has not.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from tests import cluster_conversions
from tests import cluster_nodes
from tests.cluster_conversions import Conversion

_KINDS = ("process", "node", "driver")
_MOST_WAIT_SECONDS = 3


def _flags(cluster: cluster_nodes.Cluster) -> list[str]:
    return [f"--cluster={cluster.address}", "--allow_open_cluster"]


def _hit(
    kind: str,
    conversion: Conversion,
    cluster: cluster_nodes.Cluster,
    command: subprocess.Popen,
    output: pathlib.Path,
    rng: random.Random,
) -> bool:
    """Kills something at a random moment; returns whether it was at work."""
    writer = cluster_conversions.wait_for_writer(output, command)
    time.sleep(rng.uniform(0, _MOST_WAIT_SECONDS))
    if command.poll() is not None:
        return False
    if kind == "process":
        writer = cluster_conversions.wait_for_writer(output, command)
        os.kill(writer, signal.SIGKILL)
    elif kind == "node":
        cluster.kill(rng.choice(cluster.nodes))
        cluster.add()
    else:
        cluster_conversions.kill_driver(command)
    return True


def _round(
    kind: str,
    conversion: Conversion,
    cluster: cluster_nodes.Cluster,
    output: pathlib.Path,
    rng: random.Random,
) -> bool:
    """Runs one conversion with one kill; returns whether the kill hit it."""
    conversion.slow_down(True)
    command = conversion.start(output, *_flags(cluster))
    hit = _hit(kind, conversion, cluster, command, output, rng)
    conversion.slow_down(False)
    if kind == "driver" and hit:
        command = conversion.start(output, *_flags(cluster))
    conversion.finish(command)
    return hit


def main() -> int:
    """Runs the rounds; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    hits = dict.fromkeys(_KINDS, 0)
    unequal = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        conversion = Conversion(pathlib.Path(folder))
        local = conversion.folder / "local"
        conversion.finish(conversion.start(local))
        expected = cluster_conversions.files(local)
        with (
            cluster_nodes.loopback_only(),
            cluster_conversions.make_cluster(conversion) as cluster,
        ):
            for _ in range(2):
                cluster.add()
            number = 0
            while min(hits.values()) < arguments.kills:
                kind = min(hits, key=hits.get)
                output = conversion.folder / f"output{number}"
                hit = _round(kind, conversion, cluster, output, rng)
                hits[kind] += hit
                number += 1
                if cluster_conversions.files(output) != expected:
                    unequal.append(f"{kind} {output.name}")
                spent = time.monotonic() - started
                print(f"{spent:.0f} s: {hits}, other bytes: {unequal}", flush=True)
    print(f"{number} conversions, kills that hit: {hits}, other bytes: {unequal}")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
