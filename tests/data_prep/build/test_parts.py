"""Parts of an array job: they share the work, and the plain command publishes."""

import hashlib
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from data_prep.build import convert
from data_prep.build import parts
from data_prep.build import shard_facts
from data_prep.build import shard_writing
from data_prep.config import Placement
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests.data_prep.build import films

ROOT = pathlib.Path(__file__).parents[3]
NUM_FILMS = 12
NUM_SHARDS = 9


@pytest.fixture
def config(tmp_path):
    names = {f"film{k}.png": k for k in range(NUM_FILMS)}
    films.write(tmp_path / "films", names)
    films.write(tmp_path / "test", {"one.jpg": 20})
    films.write_labels(tmp_path / "labels.csv", [f"film{k}" for k in range(NUM_FILMS)])
    return films.config(
        tmp_path,
        sizes=(32, 64),
        test_source=tmp_path / "test",
        records_per_shard=2,
    )


@pytest.fixture
def written(monkeypatch):
    """The names of the shards that are written."""
    names, write_shard = [], shard_writing._write_shard

    def noting(config, shard, outcomes):
        facts = write_shard(config, shard, outcomes)
        names.append(shard.name)
        return facts

    monkeypatch.setattr(shard_writing, "_write_shard", noting)
    return names


def tree(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def expected_of(monkeypatch, config):
    """Returns the tree of a conversion at once."""
    whole = films.replaced(config, output=config.output.parent / "whole")
    assert films.run(monkeypatch, whole) == ExitCode.DONE
    found = tree(whole.output)
    shutil.rmtree(whole.output)
    return found


def plan(monkeypatch, config):
    placed = films.replaced(config, placement=Placement(plan_only=True))
    return films.run(monkeypatch, placed)


def part(monkeypatch, config, index, count):
    placed = films.replaced(config, placement=Placement(part=(index, count)))
    return films.run(monkeypatch, placed)


def refusal(monkeypatch, config, index=0, count=2):
    with pytest.raises(CommandError) as refused:
        part(monkeypatch, config, index, count)
    assert "\n" not in str(refused.value)
    return refused.value


def test_parts_and_the_plain_command_end_with_the_same_bytes(
    config, written, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    expected = expected_of(monkeypatch, config)
    written.clear()
    assert plan(monkeypatch, config) == ExitCode.DONE
    assert not written
    assert f"planned {NUM_SHARDS} shards of 13 images, of which 9" in caplog.text
    for k in (2, 0, 1):
        assert part(monkeypatch, config, k, 3) == ExitCode.DONE
    assert sorted(written) == sorted(set(written))
    assert len(written) == NUM_SHARDS
    assert "part 2/3 is done: 3 of 9 shards, 3 written now and 0 before" in caplog.text
    assert not list(config.output.glob("*/dataset.json"))
    caplog.clear()
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert len(written) == NUM_SHARDS
    assert "no header is read again" in caplog.text
    assert "not finished" not in caplog.text
    assert tree(config.output) == expected
    caplog.clear()
    assert part(monkeypatch, config, 1, 3) == ExitCode.DONE
    assert f"{config.output} is already complete" in caplog.text
    assert tree(config.output) == expected


def test_a_repeated_part_and_another_number_of_parts_do_nothing_twice(
    config, written, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    plan(monkeypatch, config)
    part(monkeypatch, config, 0, 2)
    part(monkeypatch, config, 0, 2)
    assert len(written) == 5
    assert "part 0/2 is done: 5 of 9 shards, 0 written now and 5 before" in caplog.text
    for k in range(3):
        part(monkeypatch, config, k, 3)
    assert sorted(written) == sorted(set(written))
    assert len(written) == NUM_SHARDS


def test_more_parts_than_shards(config, written, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    plan(monkeypatch, config)
    part(monkeypatch, config, 9, 10)
    assert "part 9/10 has nothing to do: the plan has 9 shards" in caplog.text
    assert not written


def test_the_plain_command_says_which_parts_left_shards_and_does_them(
    config, written, monkeypatch, caplog
):
    expected = expected_of(monkeypatch, config)
    written.clear()
    plan(monkeypatch, config)
    # As if counted from 1: 3/3 is refused, 0/3 forgotten; and 2/3 is ended in between.
    part(monkeypatch, config, 1, 3)
    with monkeypatch.context() as patch:
        patch.setattr(shard_facts, "write", _stop)
        with pytest.raises(KeyboardInterrupt):
            part(patch, config, 2, 3)
    caplog.clear()
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert (
        "6 of 9 shards are not finished, of 2 part(s) 0/3 (was not begun), 2/3 (has "
        "not ended); they are written here. Parts are counted from 0"
    ) in caplog.text
    assert tree(config.output) == expected


def test_a_part_without_a_plan(config, monkeypatch):
    error = refusal(monkeypatch, config)
    assert error.exit_code == ExitCode.FLAGS
    assert "has no plan for a --part; run the same command with --plan_only" in str(
        error
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: films.replaced(c, clahe="none"), "another configuration (clahe"),
        (lambda c: films.replaced(c, group_salt="x"), "(group_salt_check"),
        (lambda c: films.replaced(c, sizes=(32,)), "is of --sizes=32,64, asked was"),
        (lambda c: films.write(c.source, {"new.png": 30}) and c, "is of other inputs"),
        (lambda c: os.utime(c.source / "film0.png", (1, 1)) or c, "were replaced"),
        (lambda c: c.rle_csv.write_text("ImageId,EncodedPixels\n") and c, "a csv"),
    ],
)
def test_a_part_of_another_plan(config, monkeypatch, change, said):
    plan(monkeypatch, config)
    error = refusal(monkeypatch, change(config))
    assert error.exit_code == ExitCode.CONFLICT
    assert said in str(error)
    assert "run --plan_only again" in str(error)
    assert not list(config.output.glob("*/*.tfrecord*"))


def test_a_part_of_a_plan_that_was_replaced(config, monkeypatch):
    """A stored plan is not used once the output is claimed for another one."""
    plan(monkeypatch, config)
    claim = config.output / ".work/plan.json"
    stored = json.loads(claim.read_text())
    del stored["sha256"]
    durable.write_json(claim, stored | {"inputs": "another plan's"})
    assert "of other inputs" in str(refusal(monkeypatch, config))


def test_a_plan_of_other_code(config, written, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    plan(monkeypatch, config)
    monkeypatch.setattr(parts.code_hash, "of_this_machine", lambda: "other")
    error = refusal(monkeypatch, config)
    assert error.exit_code == ExitCode.CONFLICT
    assert "was made by other code than this; run --plan_only again" in str(error)
    assert not written
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert "the stored plan is made again: it was made by other code" in caplog.text


def test_notes_of_parts_end_with_their_plan(config, monkeypatch, caplog):
    plan(monkeypatch, config)
    part(monkeypatch, config, 0, 2)
    os.utime(config.source / "film0.png", (1, 1))
    plan(monkeypatch, config)
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert "not finished" not in caplog.text


def test_relative_paths(config, written, monkeypatch):
    expected = expected_of(monkeypatch, config)
    written.clear()
    monkeypatch.chdir(config.output.parent)
    relative = films.replaced(
        config,
        source=pathlib.Path("films"),
        rle_csv=pathlib.Path("labels.csv"),
        test_source=pathlib.Path("test"),
    )
    plan(monkeypatch, relative)
    elsewhere = config.output.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for k in range(2):
        part(monkeypatch, config, k, 2)
    monkeypatch.chdir(config.output.parent)
    assert films.run(monkeypatch, relative) == ExitCode.DONE
    assert len(written) == NUM_SHARDS
    assert tree(config.output) == expected


def test_planning_again_keeps_what_is_finished(config, written, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    plan(monkeypatch, config)
    part(monkeypatch, config, 0, 2)
    plan(monkeypatch, config)
    assert "of 13 images, of which 4 are to be written" in caplog.text
    part(monkeypatch, config, 0, 1)
    assert len(written) == NUM_SHARDS


def test_what_planning_refused_is_shown_and_published(config, monkeypatch, caplog):
    (config.source / "bad.dcm").write_bytes(b"DICM nothing")
    with pytest.raises(CommandError, match="1 of 14 inputs are bad"):
        plan(monkeypatch, config)
    config = films.replaced(config, max_bad_fraction=0.5)
    assert plan(monkeypatch, config) == ExitCode.QUARANTINED
    rows = (config.output / "quarantine.csv").read_text()
    assert "films/bad.dcm," in rows
    part(monkeypatch, config, 0, 1)
    assert films.run(monkeypatch, config) == ExitCode.QUARANTINED
    assert (config.output / "quarantine.csv").read_text() == rows


def command(config, *flags, program=("-m", "data_prep.main")):
    return subprocess.Popen(
        [
            sys.executable,
            *program,
            f"--source={config.source}",
            f"--rle_csv={config.rle_csv}",
            f"--test_source={config.test_source}",
            f"--output={config.output}",
            "--sizes=32,64",
            "--num_folds=2",
            "--records_per_shard=2",
            "--max_bad_fraction=0",
            "--num_workers=1",
            *flags,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# Kills itself when it is about to rename its second shard.
KILLED = """
import os, pathlib, runpy, signal
replace_file, seen = pathlib.Path.replace, []
def replace(self, target):
    if "tfrecord" in target.name and target.parent.name == "64":
        seen.append(target)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return replace_file(self, target)
pathlib.Path.replace = replace
if __name__ == "__main__":
    runpy.run_module("data_prep.main", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_parts_at_once_one_of_them_twice_and_one_killed(config, monkeypatch):
    expected = expected_of(monkeypatch, config)
    planning = command(config, "--plan_only")
    text, _ = planning.communicate(timeout=120)
    assert planning.returncode == 0, text
    killed = command(config, "--part=1/2", program=("-c", KILLED))
    same = [command(config, "--part=0/2") for _ in range(2)]
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    for process in [*same, command(config, "--part=1/2")]:
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 0, text
        assert "is done" in text
    assert list(config.output.rglob(".incomplete-*"))
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert tree(config.output) == expected


@pytest.mark.parametrize("flag", ["--part=0/2", "--plan_only", "--cluster=auto"])
def test_a_dry_run_has_no_parts(config, flag):
    process = command(config, "--dry_run", flag)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == ExitCode.FLAGS
    assert text.splitlines()[-1].startswith("ERROR FLAGS: Expected --dry_run")


def _stop(*_, **__):
    raise KeyboardInterrupt


def test_convert_reads_no_header_in_a_part(config, monkeypatch):
    plan(monkeypatch, config)
    monkeypatch.setattr(convert.plan, "make", _stop)
    part(monkeypatch, config, 0, 1)
    films.run(monkeypatch, config)
