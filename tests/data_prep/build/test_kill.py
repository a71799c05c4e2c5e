"""A conversion that was killed anywhere continues to the same bytes."""

import hashlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_prep.phantom import synthetic_folder

ROOT = pathlib.Path(__file__).parents[3]
KILLS_EACH = 10
# In the order in which a conversion writes them.
RENAMES = (
    ("after", ".work/plan.json"),
    ("before", "32/*.tfrecord-*"),
    ("after", "64/*.tfrecord-*"),
    ("before", ".work/*.tfrecord-*.json"),
    ("after", ".work/*.tfrecord-*.json"),
    ("before", "*/quarantine.csv"),
    ("after", "*/sources.csv"),
    ("after", "32/dataset.json"),
    ("after", "64/dataset.json"),
)
# Sends itself a signal before or after its first rename to a matching path, because
# random delays hardly ever hit those microseconds.
SIGNALLED = """
import fnmatch, os, pathlib, runpy, signal, sys
name, when, pattern = (sys.argv.pop(1) for _ in range(3))
replace_file = pathlib.Path.replace
def replace(self, target):
    hit = fnmatch.fnmatch("/".join(target.parts[-2:]), pattern)
    if hit and when == "before":
        os.kill(os.getpid(), signal.Signals[name])
    replace_file(self, target)
    if hit and when == "after":
        os.kill(os.getpid(), signal.Signals[name])
pathlib.Path.replace = replace
if __name__ == "__main__":  # Workers import this module, too.
    runpy.run_module("data_prep.main", run_name="__main__", alter_sys=True)
"""


def tree(folder):
    """Returns {relative path: sha256} of all files except the empty lock."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def published(output):
    return sorted(path.parent.name for path in output.rglob("dataset.json"))


def check_whole(output, expected):
    """Checks that the output has exactly the expected files and bytes."""
    assert tree(output) == expected
    assert {path.name for path in output.iterdir() if path.is_dir()} == {"32", "64"}


class Command:
    """Runs the real command on the shared source in its own process group."""

    def __init__(self, source, folds_csv):
        self._flags = [
            f"--source={source / synthetic_folder.TRAIN_FOLDER}",
            f"--rle_csv={source / synthetic_folder.TRAIN_CSV}",
            f"--test_source={source / synthetic_folder.TEST_FOLDER}",
            "--sizes=32,64",
            f"--folds_csv={folds_csv}",
            "--max_bad_fraction=0.1",
            "--allow_quarantined=2",
            "--num_workers=2",
        ]

    def start(
        self,
        output,
        *flags,
        program=("-m", "data_prep.main"),
        shard=4,
        file_bytes=None,
    ):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        return subprocess.Popen(
            [
                sys.executable,
                *program,
                *self._flags,
                f"--records_per_shard={shard}",
                f"--output={output}",
                *flags,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=None if file_bytes is None else limit,
        )

    def signalled(self, output, name, when, pattern, *flags):
        return self.start(
            output, *flags, program=("-c", SIGNALLED, name, when, pattern)
        )

    def finish(self, output, *flags, **options):
        """Returns exit code and output of an undisturbed run."""
        process = self.start(output, *flags, **options)
        text, _ = process.communicate(timeout=120)
        return process.returncode, text


def kill_after(process, seconds):
    """Kills the whole group; returns whether it was still running."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        return True
    assert process.returncode == 0
    return False


def states(group):
    """Returns the states of a group's live processes, as in `man 5 proc`."""
    states_of_group = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            states_of_group.append(fields[0])
    return states_of_group


def wait_for(happened, seconds=60):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def command(source, dataset, tmp_path_factory):
    """The command with a folds csv, because making folds imports scikit-learn."""
    folds_csv = tmp_path_factory.mktemp("folds") / "folds.csv"
    damaged = next(source.rglob("*.3.32.4.dcm")).stem
    folds_csv.write_text((dataset / "folds.csv").read_text() + f"{damaged},0\n")
    return Command(source, folds_csv)


@pytest.fixture(scope="module")
def expected_run(command, tmp_path_factory):
    """The tree of an uninterrupted run, and its seconds."""
    output = tmp_path_factory.mktemp("expected_run") / "data"
    began = time.monotonic()
    code, text = command.finish(output)
    assert code == 0, text
    return tree(output), time.monotonic() - began


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_time(command, expected_run, tmp_path, seed):
    expected, seconds = expected_run
    rng = np.random.default_rng([55, seed])
    kills = outputs = 0
    while kills < KILLS_EACH:
        output = tmp_path / str(outputs)
        outputs += 1
        # A new folder whenever a run ended before it was killed.
        while kills < KILLS_EACH and kill_after(
            command.start(output), rng.uniform(0, seconds)
        ):
            kills += 1
        code, text = command.finish(output)
        assert code == 0, text
        check_whole(output, expected)


def test_killed_at_every_kind_of_rename(command, expected_run, tmp_path):
    expected, _ = expected_run
    output = tmp_path / "data"
    published_after = []
    for when, pattern in RENAMES:
        process = command.signalled(output, "SIGKILL", when, pattern)
        # It prints too little to fill the pipe that is read below.
        assert process.wait(timeout=120) == -signal.SIGKILL, pattern
        # The workers were not killed; they end when their parent has ended.
        wait_for(lambda group=process.pid: not states(group), seconds=20)
        process.communicate(timeout=60)
        published_after.append(published(output))
    assert published_after == [[]] * (len(RENAMES) - 2) + [["32"], ["32", "64"]]
    code, text = command.finish(output)
    assert code == 0, text
    check_whole(output, expected)


def test_two_at_once(command, expected_run, tmp_path):
    output = tmp_path / "data"
    first = command.signalled(output, "SIGSTOP", "after", "32/*.tfrecord-*")
    try:
        wait_for(lambda: "T" in states(first.pid))
        before = tree(output)
        code, text = command.finish(output)
        assert code == 5, text
        assert text.splitlines()[-1].startswith(f"ERROR CONFLICT: {output} is in use")
        assert len(text.splitlines()) == 1
        assert tree(output) == before
    finally:
        # It stops itself after each shard.
        while first.poll() is None:
            os.killpg(first.pid, signal.SIGCONT)
            time.sleep(0.01)
    text, _ = first.communicate(timeout=60)
    assert first.returncode == 0, text
    check_whole(output, expected_run[0])


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["killed", "thawed"])
def test_two_attempts_at_one_shard(command, expected_run, tmp_path, ends):
    """The first is frozen with files of a shard that are written and not renamed."""
    output = tmp_path / "data"
    code, text = command.finish(output, "--plan_only")
    assert code == 0, text
    part = "--part=0/1"
    frozen = command.signalled(output, "SIGSTOP", "before", "32/*.tfrecord-*", part)
    try:
        wait_for(lambda: "T" in states(frozen.pid))
        assert list(output.rglob(".incomplete-*"))
        code, text = command.finish(output, part)
        assert code == 0, text
        code, text = command.finish(output)
        assert code == 5, text
        assert "parts of a job are running" in text.splitlines()[-1]
        if ends == "killed":
            os.killpg(frozen.pid, signal.SIGKILL)
            frozen.communicate(timeout=60)
        else:
            # As if it had lost its lock with its node.
            (output / ".lock").unlink()
        code, text = command.finish(output)
        assert code == 0, text
        check_whole(output, expected_run[0])
    finally:
        if frozen.poll() is None:
            os.killpg(frozen.pid, signal.SIGCONT)
    if ends == "thawed":
        text, _ = frozen.communicate(timeout=60)
        assert frozen.returncode == 5, text
        assert "ERROR CONFLICT: another run has taken over" in text
        check_whole(output, expected_run[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_two_attempts_at_all_shards_killed_at_any_time(
    command, expected_run, tmp_path, seed
):
    expected, seconds = expected_run
    rng = np.random.default_rng([56, seed])
    output = tmp_path / "data"
    code, text = command.finish(output, "--plan_only")
    assert code == 0, text
    for _ in range(KILLS_EACH // 2):
        attempts = [command.start(output, "--part=0/1") for _ in range(2)]
        for attempt in attempts:
            kill_after(attempt, rng.uniform(0, seconds))
    code, text = command.finish(output)
    assert code == 0, text
    check_whole(output, expected)


@pytest.fixture(scope="module")
def small_shards(command, tmp_path_factory):
    """A run in which the manifest, written last, is the largest file."""
    output = tmp_path_factory.mktemp("small") / "data"
    code, text = command.finish(output, shard=1)
    assert code == 0, text
    sizes = {p: p.stat().st_size for p in output.rglob("*") if p.is_file()}
    assert max(sizes, key=sizes.get).name == "dataset.json"
    return tree(output), sorted(sizes.values())


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.6, 0.9, 0.99])
def test_disk_full(command, small_shards, tmp_path, share):
    """Limits the size of files to a share of the size of the last one."""
    expected, sizes = small_shards
    output = tmp_path / "data"
    # The larger of the two manifests is written second.
    limit = int(share * sizes[-2])
    code, text = command.finish(output, shard=1, file_bytes=limit)
    assert code == 6, text
    # Without the log, whose lines begin with the time.
    errors = [line for line in text.splitlines() if not re.match("[0-9:]{8} ", line)]
    assert len(errors) == 1, text
    assert errors[0].startswith("ERROR ENVIRONMENT: File too large: ")
    assert "make room" in errors[0]
    assert published(output) == []
    assert not list(output.rglob(".incomplete-*"))
    code, text = command.finish(output, shard=1)
    assert code == 0, text
    assert tree(output) == expected
