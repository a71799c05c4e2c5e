"""What does a film cost, and how long does an archive take on N machines?

    python -m tests.benchmarks.cases.film_cost [--quick]

CPU seconds and bytes of a further film: commands run over few and over many films, and
the difference is divided by the number of films between them, so that no start is in
it. CPU seconds change little when others use the machine. Conversion runs in the steps
of an array job (plan, part, publish), so that each has its own cost; the driver's share
and that of its workers are told apart. Synthetic films: JPEG Baseline of 1024 px, as in
the competition, and of 2560 px, as in hospitals. Then arithmetic from these costs: see
`cluster_arithmetic`. What a GPU takes is not measured here, and the memory of a plan is
in `plan_memory`.
"""

import argparse
import dataclasses
import pathlib
import tempfile

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import cluster_arithmetic as arithmetic
from tests.benchmarks.harness import timing
from tests.benchmarks.harness.cluster_arithmetic import FilmCost
from tests.benchmarks.harness.cluster_arithmetic import Site
from tests.benchmarks.harness.cluster_arithmetic import Units
from tests.benchmarks.sides import film_steps
from tests.benchmarks.sides.film_steps import Job

SIZES = ("256", "512", "256,512")
DRAWN = 24
MEMBERS = {
    "U-Net++ B0": "uefficientnetpp(encoder=b0)",
    "U-Net++ B4": "uefficientnetpp(encoder=b4)",
}
# A network that takes little, so that more films show what the driver does for each.
LIGHT = "nested_unetpp(start_filters=2)"
# BUILD_NOTES.md, "the check on a GPU": 644 films a second of 256 px, with hflip.
GPU_MEMBER, GPU_FILMS_S = "U-Net++ B4", 644
# Films, and the side of the drawn films that stand for them.
ARCHIVES = {
    "NIH ChestX-ray14": (112_120, 1024),
    "MIMIC-CXR": (377_110, 2560),
    "a hospital": (10_000_000, 2560),
}
NODES = (1, 8, 64)
# A machine of 16 cores and 10 Gbit/s, or of a GPU, and a share of 2 GB/s for all.
CORES, NODE_BYTES_S, STORE_BYTES_S = 16, 1.25e9, 2e9
# Shards as they are by default; a conversion may give one several cores, and a process
# with loaded members has all cores of its machine, or one GPU.
_RECORDS = 512
CONVERSION = Units(films=_RECORDS, processors=(1, 2, 4, 8, 16))
ON_CORES = Units(films=_RECORDS, processors=(CORES,))
ON_GPUS = Units(films=_RECORDS, processors=(1,))
_PACKAGES = ("tensorflow", "pydicom", "opencv-python-headless", "numpy")


def film_cost(job: Job, *, reads_twice: bool) -> FilmCost:
    """Returns the cost of a film from what it used in each step.

    Args:
      job: what a further film used.
      reads_twice: whether the plan reads a film's whole file, too, as that of a
        conversion does, which hashes the pixels to find one film under two names.
    """

    def seconds(step: str, name: str) -> float:
        # The difference of two runs may be below zero where a step costs nothing.
        return max(0.0, getattr(job.steps[step], name))

    def both(step: str) -> float:
        return seconds(step, "workers_cpu_s") + seconds(step, "own_cpu_s")

    return FilmCost(
        header_s=seconds("plan", "workers_cpu_s"),
        plan_s=seconds("plan", "own_cpu_s"),
        # On a cluster the whole part runs on the nodes.
        work_s=both("part"),
        publish_s=both("publish"),
        header_bytes=max(0.0, job.read_bytes) if reads_twice else 0.0,
        read_bytes=max(0.0, job.read_bytes),
        written_bytes=max(0.0, job.written_bytes),
    )


def on_gpu(cost: FilmCost) -> FilmCost:
    """Returns the cost of GPU_MEMBER on the GPU of BUILD_NOTES.md."""
    return dataclasses.replace(cost, work_s=1 / GPU_FILMS_S)


def archive_rows(
    what: str, cost_of: dict[int, FilmCost], units: Units, processors: int = CORES
):
    """Yields table rows of the archives on 1, 8 and 64 machines.

    Args:
      what: the job.
      cost_of: {side of the films: cost}.
      units: what a machine does as a whole.
      processors: cores or GPUs of each machine that do the work.
    """
    for name, (films, side) in ARCHIVES.items():
        for nodes in NODES:
            site = Site(
                nodes=nodes,
                processors=processors,
                cores=CORES,
                node_bytes_s=NODE_BYTES_S,
                store_bytes_s=STORE_BYTES_S,
            )
            found = arithmetic.estimate(cost_of[side], films, units, site)
            seconds = (found.plan_s, found.work_s, found.publish_s, found.total_s)
            durations = map(arithmetic.duration, seconds)
            yield what, f"{name}, {films:,}", nodes, *durations, found.limit


def cost_row(what: str, cost: FilmCost) -> tuple:
    """Returns a cost as a table row."""
    milliseconds = (cost.header_s, cost.plan_s, cost.work_s, cost.publish_s)
    return (
        what,
        *(f"{1000 * s:.2f}" for s in milliseconds),
        f"{(cost.header_bytes + cost.read_bytes) / 1e3:.0f}",
        f"{cost.written_bytes / 1e3:.0f}",
    )


def measure(folder: pathlib.Path, *, quick: bool) -> dict[str, FilmCost]:
    """Returns {what: cost of a film}."""
    costs, counts = {}, {1024: (20, 3020), 2560: (20, 140)}
    for side in (1024, 2560):
        drawn = folder / f"drawn{side}"
        source_files.draw(drawn, count=DRAWN, size=side)
        for sizes in SIZES if side == 1024 else SIZES[-1:]:
            few, many = (
                film_steps.conversion(drawn, folder, sizes, n)
                for n in ((20, 40) if quick else counts[side])
            )
            further = many.per_film(few)
            costs[f"{side} px to {sizes}"] = film_cost(further, reads_twice=True)
    # What the driver does for a film does not depend on its pixels, and needs more
    # films to show than are drawn of the large ones.
    small, large = (f"{side} px to {SIZES[-1]}" for side in (1024, 2560))
    costs[large] = with_driver_of(costs[small], costs[large])
    light = prediction_cost(LIGHT, folder, (4, 12) if quick else (16, 2016))
    for name, network in MEMBERS.items():
        cost = prediction_cost(network, folder, (4, 12) if quick else (16, 112))
        costs[name] = with_driver_of(light, cost)
    return costs


def prediction_cost(network: str, folder: pathlib.Path, counts) -> FilmCost:
    """Returns the cost of a film of a prediction, from commands over so many films."""
    few, many = (film_steps.prediction(network, folder, n) for n in counts)
    cost = film_cost(many.per_film(few), reads_twice=False)
    # It reads no headers; what its plan's processes use is their start.
    return dataclasses.replace(cost, header_s=0.0)


def with_driver_of(other: FilmCost, cost: FilmCost) -> FilmCost:
    """Returns a cost whose share of the driver is another's."""
    driver = {"plan_s": other.plan_s, "publish_s": other.publish_s}
    return dataclasses.replace(cost, **driver)


def report(machine, costs: dict[str, FilmCost]) -> None:
    """Prints the costs and the arithmetic as Markdown."""
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    header = ("a film", "header", "plan", "work", "publish", "kB read", "kB written")
    print("CPU milliseconds, and thousands of bytes:\n")
    print(timing.markdown(header, (cost_row(*item) for item in costs.items())))
    print(
        f"\nArithmetic: machines of {CORES} cores or one GPU, "
        f"{NODE_BYTES_S / 1e9:.2f} GB/s a machine, {STORE_BYTES_S / 1e9:.0f} GB/s of "
        "the store in all.\n"
    )
    rows = []
    sides = {side: costs[f"{side} px to {SIZES[-1]}"] for side in (1024, 2560)}
    rows += archive_rows(f"convert to {SIZES[-1]}", sides, CONVERSION)
    for name in MEMBERS:
        by_side = dict.fromkeys(sides, costs[name])
        rows += archive_rows(f"{name}, cores", by_side, ON_CORES)
    gpu = on_gpu(costs[GPU_MEMBER])
    rows += archive_rows(f"{GPU_MEMBER}, GPU", dict.fromkeys(sides, gpu), ON_GPUS, 1)
    header = ("job", "films", "machines", *film_steps.STEPS, "in all", "limited by")
    print(timing.markdown(header, rows))
    print("\n" + timing.as_json({"costs": costs}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few films; means little")
    args = parser.parse_args()
    timing.adopt_orphans()
    machine = timing.machine(_PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(pathlib.Path(folder), quick=args.quick)
    report(machine, costs)


if __name__ == "__main__":
    main()
