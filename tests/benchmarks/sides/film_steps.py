"""What each step of a conversion and of a prediction uses for a further film.

The steps are those of an array job: plan, part, publish. They run over few and over
many films, and the difference is divided by the number of films between them, so that
no start is in it.
"""

import dataclasses
import json
import pathlib
import shutil
import sys

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.fixtures.source_files import ROOT
from tests.benchmarks.harness import timing

STEPS = ("plan", "part", "publish")
_FLAGS = {"plan": ["--plan_only"], "part": ["--part=0/1"], "publish": []}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Used:
    """What one run of a command used.

    Attributes:
      own_cpu_s: CPU seconds of its first process.
      workers_cpu_s: CPU seconds of all others.
      own_peak_mib: the largest memory of its first process.
    """

    own_cpu_s: float
    workers_cpu_s: float
    own_peak_mib: float

    def per_film(self, few: "Used", films: int) -> "Used":
        """Returns what each of `films` further films used."""
        return Used(
            **{
                name: (value - getattr(few, name)) / films
                for name, value in dataclasses.asdict(self).items()
            }
        )


def measured(module: str, arguments: list[str], folder: pathlib.Path) -> Used:
    """Runs a command of ours to its end."""
    report = folder / "used.json"
    side = [sys.executable, "-m", "tests.benchmarks.sides.measured_command"]
    run = timing.run_process([*side, str(report), module, *arguments], cwd=ROOT)
    found = json.loads(report.read_text())
    workers_cpu_s = max(0.0, run.cpu_s - found["own_cpu_s"])
    return Used(workers_cpu_s=workers_cpu_s, **found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job over some number of films, or what a further film of it uses.

    Attributes:
      films: their number.
      steps: {step: what it used}.
      read_bytes: bytes of its input.
      written_bytes: bytes of its output.
    """

    films: float
    steps: dict[str, Used]
    read_bytes: float
    written_bytes: float

    def per_film(self, few: "Job") -> "Job":
        """Returns what each film used that this job has beside those of `few`."""
        films = self.films - few.films
        return Job(
            films=1,
            steps={s: u.per_film(few.steps[s], films) for s, u in self.steps.items()},
            read_bytes=(self.read_bytes - few.read_bytes) / films,
            written_bytes=(self.written_bytes - few.written_bytes) / films,
        )


def conversion(
    drawn: pathlib.Path, folder: pathlib.Path, sizes: str, count: int
) -> Job:
    """Converts `count` of the drawn films to these sizes, such as "256,512"."""
    source = source_files.sound(drawn, folder / f"films{count}", count=count)
    output = folder / f"out{count}"
    arguments = [*_source(source, output), f"--sizes={sizes}"]
    job = _job("data_prep.main", arguments, folder, source.folder, output, count)
    timing.say(f"{sizes} px: {job}")
    shutil.rmtree(source.folder.parent)
    shutil.rmtree(output)
    return job


def prediction(network: str, folder: pathlib.Path, count: int) -> Job:
    """Predicts `count` films of 256 px with one member and the mirrored view."""
    # Imported here, as TensorFlow is not needed before.
    from tests.benchmarks.fixtures import bulk_job

    work = folder / f"job{count}"
    output = work / "out"
    data = bulk_job.write_dataset(work / "256", count=count, size=256)
    member = bulk_job.write_empty_member(work / "member", data, network)
    arguments = [f"--data={data}", f"--members={member}", f"--output={output}"]
    job = _job("inference.main", arguments, folder, data, output, count)
    timing.say(f"{network}: {job}")
    shutil.rmtree(work)
    return job


def _source(source: source_files.Source, output: pathlib.Path) -> list[str]:
    return [
        f"--source={source.folder}",
        f"--rle_csv={source.csv}",
        f"--output={output}",
        "--num_workers=1",
        "--num_folds=2",
    ]


def _job(module, arguments, folder, source, output, count) -> Job:
    steps = {s: measured(module, [*arguments, *_FLAGS[s]], folder) for s in STEPS}
    return Job(
        films=count,
        steps=steps,
        read_bytes=_num_bytes(source),
        written_bytes=_num_bytes(output),
    )


def _num_bytes(folder: pathlib.Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
