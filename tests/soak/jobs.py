"""The jobs that are damaged: small, and with what they must make in the end."""

import csv
import dataclasses
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable
from collections.abc import Sequence

from tests.soak.forks import Command
from tests.soak.forks import Fork

JOBS = ("conversion", "training", "prediction", "tuning")
# What tells when or how fast, and is no result.
_TIMES = {"seconds", "images_per_second", "wall_seconds_of_last_start", "finished"}
# Curves and pictures of a run, with its speed, and the flags with its folder.
_IGNORED = (".lock", "progress.png", "steps.csv", "flags.txt")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A command that makes one folder.

    Attributes:
      name: what it is.
      command: makes the command from the folder.
      content: what is compared of the folder.
      expected: the content after an undisturbed run.
      seconds: duration of that run.
    """

    name: str
    command: Callable[[pathlib.Path], Command]
    content: Callable[[pathlib.Path], dict[str, str]]
    expected: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


def tree(folder: pathlib.Path) -> dict[str, str]:
    """Returns {relative path: sha256} of the files that are results."""
    return {
        str(path.relative_to(folder)): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _IGNORED
    }


def trained(folder: pathlib.Path) -> dict[str, str]:
    """Returns the same of a run folder, without the state and the events of a run."""
    return {
        name: digest
        for name, digest in tree(folder).items()
        if not name.startswith(("tensorboard/", "checkpoints/"))
    }


def _digest(path: pathlib.Path) -> str:
    if path.name == "result.json":
        return _hash(_untimed(json.loads(path.read_text())))
    if path.suffix == ".csv" and path.name in ("log.csv", "images.csv"):
        with path.open(newline="") as file:
            return _hash([_untimed(row) for row in csv.DictReader(file)])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _untimed(values: dict) -> dict:
    # A file's own sha256 is over its times, too.
    return {k: v for k, v in values.items() if k not in _TIMES | {"sha256"}}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


class Workshop:
    """A folder with films, a dataset, runs and a prediction, and the jobs on them.

    Args:
      folder: where all is; what is there already is used.
      names: the jobs, of JOBS; each uses what those before it have made.
    """

    def __init__(self, folder: pathlib.Path, names: Sequence[str] = JOBS):
        self.folder, self.names = folder, tuple(n for n in JOBS if n in names)
        self._source = folder / "source"
        self.data, self.run = folder / "data", folder / "runs" / "fold0"
        self.out_of_fold = folder / "out_of_fold"
        self.log = folder / "log.txt"

    def commands(self) -> dict[str, Job]:
        """Returns the jobs by name, without what they must make."""
        jobs = (
            Job(name="conversion", command=self._convert, content=tree),
            Job(name="training", command=self._train, content=trained),
            Job(name="prediction", command=self._predict, content=tree),
            Job(name="tuning", command=self._tune, content=tree),
        )
        return {job.name: job for job in jobs}

    def prepare(self) -> dict[str, Job]:
        """Makes what is missing, and returns the jobs with what they must make."""
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = self.folder / "expected.json"
        if not facts.exists():
            facts.write_text(json.dumps(self._make()))
        found, jobs = json.loads(facts.read_text()), self.commands()
        return {n: dataclasses.replace(jobs[n], **found[n]) for n in self.names}

    def _make(self) -> dict[str, dict]:
        from data_prep.config import SyntheticConfig
        from data_prep.phantom import synthetic_folder

        shutil.rmtree(self._source, ignore_errors=True)
        synthetic_folder.write(
            SyntheticConfig(
                output=self._source,
                num_train=30,
                num_test=7,
                image_size=128,
                seed=3,
                num_workers=2,
            )
        )
        jobs, made = self.commands(), {}
        outputs = {
            "conversion": self.data,
            "training": self.run,
            "prediction": self.folder / "prediction",
            "tuning": self.folder / "tuning",
        }
        needed = JOBS[: 1 + max(JOBS.index(name) for name in self.names)]
        for name in needed:
            output = outputs[name]
            if name == "tuning":
                shutil.rmtree(self.out_of_fold, ignore_errors=True)
                self._succeed(self._predict_out_of_fold(self.out_of_fold))
            shutil.rmtree(output, ignore_errors=True)
            seconds = self._succeed(jobs[name].command(output))
            expected = jobs[name].content(output)
            made[name] = {"expected": expected, "seconds": seconds}
        return made

    def _succeed(self, command: Command) -> float:
        """Runs a command; returns its seconds."""
        began = time.monotonic()
        ended = Fork(command, self.log).wait()
        if ended.code:
            raise RuntimeError(
                f"{command.module} ended with {ended.code}:\n{ended.text}"
            )
        return time.monotonic() - began

    def _convert(self, output: pathlib.Path) -> Command:
        from data_prep.phantom import synthetic_folder

        return Command(
            module="data_prep.main",
            flags=(
                f"--source={self._source / synthetic_folder.TRAIN_FOLDER}",
                f"--rle_csv={self._source / synthetic_folder.TRAIN_CSV}",
                f"--test_source={self._source / synthetic_folder.TEST_FOLDER}",
                "--sizes=32,64",
                "--num_folds=3",
                "--records_per_shard=4",
                "--max_bad_fraction=0.1",
                "--allow_quarantined=2",
                "--num_workers=2",
                f"--output={output}",
            ),
        )

    def _train(self, output: pathlib.Path) -> Command:
        return Command(
            module="trainer.main",
            flags=(
                f"--data={self.data / '32'}",
                "--model=tiny(dropout=0.2)",
                "--fold=0",
                "--epochs=3",
                "--swa_epochs=1",
                "--global_batch_size=4",
                "--deterministic=true",
                f"--workdir={output}",
            ),
        )

    def _predict(self, output: pathlib.Path) -> Command:
        return self._prediction(output, "--outputs=csv,probabilities,report")

    def _predict_out_of_fold(self, output: pathlib.Path) -> Command:
        return self._prediction(output, "--split=out_of_fold")

    def _prediction(self, output: pathlib.Path, *flags: str) -> Command:
        return Command(
            module="inference.main",
            flags=(
                f"--data={self.data / '32'}",
                f"--members={self.run}",
                *flags,
                f"--output={output}",
            ),
        )

    def _tune(self, output: pathlib.Path) -> Command:
        from data_prep.phantom import synthetic_folder

        return Command(
            module="inference.tune",
            flags=(
                f"--predictions={self.out_of_fold}",
                f"--truth={self._source / synthetic_folder.TRAIN_CSV}",
                f"--output={output}",
            ),
        )
