"""Single bits flipped in what a command reads: each is found, or changes nothing.

A command that reads a damaged file must end with the exit code of corrupt data, or
make what it makes of the sound file. Anything else is silent damage, or an error that
blames nobody.
"""

import dataclasses
import pathlib
import random
import shutil

from tests.soak.forks import Fork
from tests.soak.jobs import Job
from tests.soak.jobs import Workshop
from tests.soak.trials import OK

_CORRUPT = 7
# {job: (how many of its finished steps are half of it, what it has left by then, how
# a finished step shows)}
_LEFT = {
    "conversion": (3, ".work/**/*", ".work/*.tfrecord-*.json"),
    "training": (2, "checkpoints/*/*", "checkpoints/epoch-*"),
    "prediction": (1, "parts/**/part-*", "parts/*/part-*"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """Files of which one gets a flipped bit, and the job that reads them.

    Attributes:
      kind: what they are, such as "shards".
      files: the sound files.
      job: the job.
      is_output: whether they are what the job itself has left, half done.
    """

    kind: str
    files: tuple[pathlib.Path, ...]
    job: Job
    is_output: bool = False


class Bits:
    """Trials of flipped bits.

    Args:
      workshop: where the jobs are.
      seed: decides with a trial's number what is flipped.
    """

    def __init__(self, workshop: Workshop, seed: int):
        self._workshop, self._seed = workshop, seed
        self._jobs = workshop.prepare()
        self._targets = self._find()

    def flip(self, number: int) -> str:
        """Flips a bit, runs the job, and puts the bit back; returns OK or a failure."""
        draw = random.Random(f"{self._seed} bits {number}")
        target = self._targets[number % len(self._targets)]
        file = draw.choice(target.files)
        sound = file.read_bytes()
        data = bytearray(sound)
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        data[place] ^= 1 << bit
        output = self._workshop.folder / "output"
        shutil.rmtree(output, ignore_errors=True)
        try:
            if target.is_output:
                base = self._half_done(target.job)
                shutil.copytree(base, output)
                (output / file.relative_to(base)).write_bytes(data)
            else:
                file.write_bytes(data)
            ended = Fork(target.job.command(output), self._workshop.log).wait()
        finally:
            file.write_bytes(sound)
        if ended.code == _CORRUPT or (
            ended.code == 0 and target.job.content(output) == target.job.expected
        ):
            return OK
        last = (ended.text.strip().splitlines() or [""])[-1]
        where = f"bit {bit} of byte {place} of {file.name} ({target.kind})"
        return f"{where}: exit code {ended.code}; {last}"

    def _find(self) -> list[Target]:
        shop, jobs = self._workshop, self._jobs
        data, run, maps = shop.data / "32", shop.run, shop.out_of_fold
        rows = (
            ("shards of the training split", "training", data, "train*.tfrecord-*"),
            ("shards of the test split", "prediction", data, "test*.tfrecord-*"),
            ("dataset.json", "training", data, "dataset.json"),
            ("weights", "prediction", run, "swa.weights.h5"),
            ("JSON of a run", "prediction", run, "[cr]*.json"),
            ("maps", "tuning", maps, "*/part-*.tfrecord"),
            ("prediction.json", "tuning", maps, "prediction.json"),
        )
        targets = [
            Target(kind=kind, files=_files(folder, pattern), job=jobs[name])
            for kind, name, folder, pattern in rows
            if name in jobs
        ]
        for name in _LEFT.keys() & jobs.keys():
            targets.append(
                Target(
                    kind=f"what an interrupted {name} has left",
                    files=_files(self._half_done(jobs[name]), _LEFT[name][1]),
                    job=jobs[name],
                    is_output=True,
                )
            )
        empty = [t.kind for t in targets if not t.files]
        if empty:
            raise RuntimeError(
                f"Expected files of each kind. Received: none of {empty}"
            )
        return sorted(targets, key=lambda t: t.kind)

    def _half_done(self, job: Job) -> pathlib.Path:
        """Returns a folder that the job has left in the middle."""
        folder = self._workshop.folder / "half" / job.name
        enough, _, pattern = _LEFT[job.name]
        while not folder.exists():
            output = self._workshop.folder / "output"
            shutil.rmtree(output, ignore_errors=True)
            fork = Fork(job.command(output), self._workshop.log)
            while fork.is_running():
                if len(list(output.glob(pattern))) >= enough:
                    fork.kill()
                    break
                fork.wait_at_most(0.002)
            fork.wait()
            if any(output.glob(pattern)):
                folder.parent.mkdir(exist_ok=True)
                shutil.copytree(output, folder)
        return folder


def _files(folder: pathlib.Path, pattern: str) -> tuple[pathlib.Path, ...]:
    """Returns the files that have a bit."""
    found = (p for p in folder.glob(pattern) if p.is_file() and p.stat().st_size)
    return tuple(sorted(found))
