"""How fast is the conversion? Against three peers and against its bare kernels.

    python -m tests.benchmarks.cases.conversion --files=400 --rounds=7 [--memory]

Synthetic 1024 x 1024 JPEG Baseline files to CLAHE images and masks at 256 and 512,
two workers, files in the page cache. First all sides must give equal pixels and
masks; then whole processes are timed in turn. What one process costs before its
first file is measured over a few files and subtracted where it says "per file".
A goal that is missed is printed as MISSED. Wants an idle machine.
"""

import argparse
import json
import pathlib
import tempfile

import pydicom.pixels
import pydicom.uid

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import memory
from tests.benchmarks.harness import timing
from tests.benchmarks.sides import conversion_sides as sides

SIZES = (256, 512)
SOURCE_SIZE = 1024
FEW = 8
GOALS = {
    sides.NATURAL: 1.3,
    sides.TFIO: 3.0,
    sides.DALI: 1.2,
}
# Largest allowed difference of a pixel, in grey levels: another JPEG decoder may round
# differently, and DALI has its own CLAHE.
TOLERANCES = {
    sides.NATURAL: 0,
    sides.TFIO: 1,
    sides.DALI: 24,
}
KERNEL_GOAL = 0.85
MEMORY_FILES = (1000, 5000)
MEMORY_GOAL = 1.05
_PACKAGES = (
    "tensorflow",
    "pydicom",
    "pillow",
    "opencv-python-headless",
    "numpy",
)


def refuse_unequal(names, source, folder) -> dict:
    """Returns {peer: {size: difference}}; stops if the outputs are not equal."""
    found = {name: sides.differences(name, source, folder, SIZES) for name in names}
    for name, by_size in found.items():
        for size, difference in by_size.items():
            timing.say(f"equality, {name} at {size}: {difference}")
            # A larger difference means that the peer does different work.
            tolerated = difference.max_pixel <= TOLERANCES[name]
            if not tolerated or difference.num_masks or difference.num_unmatched:
                raise SystemExit(f"not timed: {name} at {size} differs: {difference}")
    return found


def measure(names, source, few, folder, rounds) -> dict[str, list[timing.Run]]:
    """Times every side over all files and over a few, and times the kernels."""

    def run(name, files):
        return lambda: sides.convert(name, files, folder / "timed", SIZES)

    todo = {name: run(name, source) for name in names}
    todo |= {_few(name): run(name, few) for name in names}
    todo[sides.KERNELS] = lambda: sides.kernels(source, SIZES)
    return timing.interleave(todo, rounds=rounds)


def ratios(names, runs, count) -> list[tuple]:
    """Returns rows of (what, wall ratio, CPU ratio, goal), all "higher is better"."""
    rows = []
    for name in names[1:]:
        for what, of_side, goal in (
            ("whole process", _whole, GOALS[name]),
            ("per file", _per_file, None),
        ):
            values = [
                timing.per_round(
                    lambda mine, theirs: theirs / mine,
                    of_side(runs, sides.OURS, attribute, count),
                    of_side(runs, name, attribute, count),
                )
                for attribute in ("wall_s", "cpu_s")
            ]
            rows.append((f"{name} / ours, {what}", *values, goal))
    values = []
    for attribute, cores in (("wall_s", sides.NUM_WORKERS), ("cpu_s", 1)):
        bare = [json.loads(run.output)[attribute] for run in runs[sides.KERNELS]]
        mine = _per_file(runs, sides.OURS, attribute, count)
        fractions = [b / (m * cores) for b, m in zip(bare, mine, strict=True)]
        values.append(timing.Spread.of(fractions))
    rows.append(("bare kernels / ours, per file and core", *values, KERNEL_GOAL))
    return rows


def _whole(runs, name, attribute, count) -> list[float]:
    return [getattr(run, attribute) / count for run in runs[name]]


def _per_file(runs, name, attribute, count) -> list[float]:
    """Returns the median over rounds of the seconds per file without start-up."""
    start_up = timing.spread(runs[_few(name)], attribute).median
    spent = [getattr(run, attribute) - start_up for run in runs[name]]
    return [seconds / (count - FEW) for seconds in spent]


def _few(name: str) -> str:
    return f"{name}, {FEW} files"


def peak_memory(drawn, folder) -> dict[int, float]:
    """Returns {number of files: peak MiB of their conversion}."""
    peaks = {}
    for count in MEMORY_FILES:
        source = source_files.sound(drawn, folder / f"memory{count}", count=count)
        with tempfile.TemporaryDirectory(dir=folder) as output:
            command = sides.command(
                sides.OURS, source, pathlib.Path(output, "out"), SIZES
            )
            peaks[count] = memory.peak_mib(command, cwd=source_files.ROOT)
        timing.say(f"memory, {count} files: {peaks[count]:.0f} MiB")
    return peaks


def report(machine, found, runs, rows, count) -> None:
    """Prints the measurements as Markdown."""
    print(timing.markdown(("machine", ""), machine.items()))
    for name, by_size in found.items():
        for size, difference in by_size.items():
            equal = "equal" if difference.none else f"as near as allowed, {difference}"
            print(f"\n{name} at {size} px, {difference.num_images} images: {equal}")
    print(f"\n{count} files; seconds, median (lowest to highest):\n")
    table = [
        (name, timing.spread(of_side, "wall_s"), timing.spread(of_side, "cpu_s"))
        for name, of_side in runs.items()
    ]
    print(timing.markdown(("process", "wall", "CPU"), table))
    bare = [json.loads(run.output) for run in runs[sides.KERNELS]]
    table = [(k, timing.Spread.of(1000 * b[k] for b in bare)) for k in bare[0]]
    print("\n" + timing.markdown(("bare kernels, one core", "ms per file"), table))
    table = [
        (
            what,
            wall,
            cpu,
            f">= {goal}" if goal else "",
            timing.verdict(wall.median, goal) if goal else "",
            timing.verdict(cpu.median, goal) if goal else "",
        )
        for what, wall, cpu, goal in rows
    ]
    header = ("ratio", "wall", "CPU", "goal", "by wall", "by CPU")
    print("\n" + timing.markdown(header, table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--source", type=pathlib.Path, help="keep the drawn files here, or reuse them"
    )
    parser.add_argument("--memory", action="store_true", help="peak memory, too; slow")
    args = parser.parse_args()
    timing.pin(sides.NUM_WORKERS)
    timing.adopt_orphans()
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGBaseline8Bit)
    machine = timing.machine(_PACKAGES)
    machine["pydicom's JPEG plugins"] = ", ".join(decoder.available_plugins)
    names = [sides.OURS, sides.NATURAL]
    for peer, works in (
        (sides.TFIO, sides.tfio_works),
        (sides.DALI, sides.dali_works),
    ):
        if works():
            names.append(peer)
        else:
            timing.say(f"{peer} does not load here; its side is left out")
    with tempfile.TemporaryDirectory(prefix="conversion-") as name:
        folder = pathlib.Path(name)
        drawn = args.source or folder / "drawn"
        source_files.draw(drawn, count=args.files, size=SOURCE_SIZE)
        source = source_files.sound(drawn, folder / "all", count=args.files)
        few = source_files.sound(drawn, folder / "few", count=FEW)
        source_files.read_all(source)
        found = refuse_unequal(names[1:], source, folder)
        runs = measure(names, source, few, folder, args.rounds)
        rows = ratios(names, runs, source.count)
        report(machine, found, runs, rows, source.count)
        peaks = peak_memory(drawn, folder) if args.memory else {}
    if peaks:
        small, large = peaks.values()
        print(
            f"\nmemory, MiB by files: {peaks}; ratio {large / small:.3f}, goal <= "
            f"{MEMORY_GOAL}: {timing.verdict(large / small, MEMORY_GOAL, at_most=True)}"
        )
    print("\n" + timing.as_json({"machine": machine, "runs": runs, "memory": peaks}))


if __name__ == "__main__":
    main()
