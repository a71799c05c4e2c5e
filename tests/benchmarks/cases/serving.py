"""Is an exported model as fast as inference.main, over the same films?

    python -m tests.benchmarks.cases.serving [--quick] [--films=400] [--rounds=5]

JPEG films of 1024 px to masks of that size, by one member of 256 px with the mirrored
view: `python -m inference.main --source`, which decodes and shrinks by OpenCV in
processes of its own, against the SavedModel of the same member in one process, where
TensorFlow does all of it. First the areas of all masks are compared, then both are
timed in turn, over all films and over one batch, which is what a start costs. A ratio
is inference.main's seconds by the artefact's, so 0.95 is a goal from below. A small
network shows what is beside the network, U-Net++ B0 what users see. Wants an idle
machine.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.fixtures.source_files import ROOT
from tests.benchmarks.harness import timing

# Keeps TensorFlow's start-up warnings out of the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NUM_CORES = 2
BATCH_SIZE = 16
SIZE, SIDE, DRAWN = 256, 1024, 12
SMALL = "small network"
NETWORKS = {SMALL: "", "U-Net++ B0": "uefficientnetpp(encoder=b0)"}
GOAL = 0.95
MAIN, SERVED = "inference.main", "artefact"
_PACKAGES = ("tensorflow", "opencv-python-headless", "simplejpeg", "numpy")


class Job:
    """A member, its artefact, and two folders of films.

    Args:
      folder: to write into.
      network: name in NETWORKS.
      films: number of films in the larger folder.
    """

    def __init__(self, folder: pathlib.Path, network: str, films: int):
        # Imported here, because the process that times does not need TensorFlow before.
        from tests.benchmarks.fixtures import bulk_job

        self._folder = folder
        data = _dataset(folder)
        if network == SMALL:
            [self._member] = bulk_job.write_members(folder / "runs", data, count=1)
        else:
            self._member = folder / "member"
            bulk_job.write_empty_member(self._member, data, NETWORKS[network])
        self._films = {n: _films(folder, n) for n in (films, BATCH_SIZE)}
        command = [sys.executable, "-m", "inference.export"]
        command += [f"--members={self._member}", f"--output={folder / 'served'}"]
        timing.say(timing.run_process(command, cwd=ROOT).output.strip())

    def run(self, side: str, films: int) -> timing.Run:
        """Runs a side over so many films; replaces what it wrote before."""
        output, source = self._folder / side, self._films[films]
        shutil.rmtree(output, ignore_errors=True)
        if side == MAIN:
            command = [sys.executable, "-m", "inference.main", f"--source={source}"]
            command += [f"--members={self._member}", f"--output={output}"]
            command += [f"--batch_size={BATCH_SIZE}"]
        else:
            output.mkdir()
            module = "tests.benchmarks.sides.serve_films"
            command = [sys.executable, "-m", module, str(self._folder / "served")]
            command += [str(source), str(output / "areas.csv"), str(BATCH_SIZE)]
        return timing.run_process(command, cwd=ROOT)

    def areas(self, side: str) -> dict[str, int]:
        """Returns {id: area of the mask} of what a side wrote last."""
        name = "submission.csv" if side == MAIN else "areas.csv"
        lines = (self._folder / side / name).read_text().splitlines()
        rows = (line.split(",") for line in lines[side == MAIN :])
        if side == SERVED:
            return {image_id: int(area) for image_id, area in rows}
        return {image_id: _area(code) for image_id, code in rows}


def _area(code: str) -> int:
    # Of start and length in turn.
    return sum(map(int, code.split()[1::2])) if code != "-1" else 0


def _dataset(folder: pathlib.Path) -> pathlib.Path:
    source = folder / "drawn"
    source_files.draw(source, count=20, size=SIZE)
    sound = source_files.sound(source, folder / "sound", count=20)
    command = [sys.executable, "-m", "data_prep.main", f"--source={sound.folder}"]
    command += [f"--rle_csv={sound.csv}", f"--output={folder / 'data'}"]
    command += [f"--sizes={SIZE}", "--num_folds=2", "--num_workers=1"]
    timing.run_process(command, cwd=ROOT)
    return folder / "data" / str(SIZE)


def _films(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Writes JPEG films; the drawn ones again and again, under other names."""
    import cv2
    import numpy as np

    from tests.benchmarks.fixtures import predictions

    drawn = folder / "jpeg"
    drawn.mkdir(exist_ok=True)
    paths = [drawn / f"{k}.jpg" for k in range(DRAWN)]
    if not paths[0].exists():
        # As in bulk_job: a few films have bright lesions, which the members find.
        grey = 60 + 160 * predictions.draw(DRAWN, SIDE)
        # Without noise some have too few levels to be films.
        grey += np.random.default_rng(0).normal(0, 8, grey.shape)
        grey = np.rint(grey).clip(0, 255).astype(np.uint8)
        for path, film in zip(paths, grey, strict=True):
            cv2.imwrite(str(path), film)
    linked = folder / f"films{count}"
    linked.mkdir()
    for k in range(count):
        (linked / f"film{k:05d}.jpg").hardlink_to(paths[k % DRAWN])
    return linked


def measure(job: Job, films: int, rounds: int) -> dict[str, list[timing.Run]]:
    """Returns the runs of both sides, over all films and over a batch."""
    for side in (MAIN, SERVED):
        job.run(side, films)
    if job.areas(MAIN) != job.areas(SERVED):
        raise SystemExit("not timed: the masks of the two have other areas")
    masked = sum(map(bool, job.areas(MAIN).values()))
    timing.say(f"{films} films, {masked} with a mask: equal areas")
    sides = {
        f"{side}, {count} films": lambda side=side, count=count: job.run(side, count)
        for count in (films, BATCH_SIZE)
        for side in (MAIN, SERVED)
    }
    return timing.interleave(sides, rounds=rounds)


def report(network: str, runs: dict[str, list[timing.Run]], films: int) -> None:
    """Prints the seconds and the ratios as Markdown."""
    rows = [
        (name, timing.spread(found, "wall_s"), timing.spread(found, "cpu_s"))
        for name, found in runs.items()
    ]
    print(timing.markdown((network, "wall, s", "CPU, s"), rows) + "\n")
    rows = []
    for what, few in (("whole process", 0), ("per further film", BATCH_SIZE)):
        ratios = [_ratio(runs, films, few, name) for name in ("wall_s", "cpu_s")]
        said = timing.verdict(ratios[0].median, GOAL)
        rows.append((f"{network}, {what}", *ratios, f">= {GOAL}: {said}"))
    header = ("inference.main / artefact", "wall", "CPU", "goal, by wall")
    print(timing.markdown(header, rows) + "\n")


def _ratio(runs, films: int, few: int, attribute: str) -> timing.Spread:
    def seconds(side: str) -> list[float]:
        found = [getattr(r, attribute) for r in runs[f"{side}, {films} films"]]
        if not few:
            return found
        starts = timing.spread(runs[f"{side}, {few} films"], attribute).median
        return [s - starts for s in found]

    return timing.per_round(lambda a, b: a / b, seconds(MAIN), seconds(SERVED))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few films; means little")
    args = parser.parse_args()
    films, rounds = (32, 1) if args.quick else (args.films, args.rounds)
    timing.adopt_orphans()
    timing.pin(NUM_CORES)
    print(timing.markdown(("machine", ""), timing.machine(_PACKAGES).items()) + "\n")
    found = {}
    for network in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="serving-") as name:
            job = Job(pathlib.Path(name), network, films)
            found[network] = measure(job, films, rounds)
        report(network, found[network], films)
    print(timing.as_json({"runs": found}))


if __name__ == "__main__":
    main()
