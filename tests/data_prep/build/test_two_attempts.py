"""Two attempts at one shard, in every order of their steps, leave files with facts."""

import dataclasses
import hashlib
import itertools
import logging
import pathlib
import shutil

import pytest

from data_prep.build import claim
from data_prep.build import convert
from data_prep.build import plan
from data_prep.build import shard_facts
from data_prep.build import shard_writing
from data_prep.build import work_folder
from data_prep.build.attempt import Attempt
from data_prep.build.image_records import Converted
from data_prep.build.plan import PlannedShard
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from tests.data_prep.core import interleaving

NAME = "test.tfrecord-00000-of-00001"
IDS = "ab"


@dataclasses.dataclass(frozen=True)
class Film:
    """What writing a shard asks of a task."""

    image_id: str


SHARD = PlannedShard(
    name=NAME, split="test", fold=-1, label=-1, tasks=tuple(map(Film, IDS))
)


def outcomes(*refused):
    """Yields the films of the shard; as many bytes for each."""
    for film in SHARD.tasks:
        if film.image_id in refused:
            yield film, InputError("DCM_TIMEOUT", "reason", fix="fix")
            continue
        name = film.image_id
        yield (
            film,
            Converted(
                records={size: f"{size}{name}".encode() for size in (32, 64)},
                sums={size: (1, 1) for size in (32, 64)},
                source_sha256=name,
                pixels_sha256=name,
                perceptual_hash=name,
                notices=(),
            ),
        )


# What each of two attempts refuses.
KINDS = {"the same": ("", ""), "one film": ("", "a"), "other films": ("b", "a")}


@pytest.fixture(params=KINDS)
def refused(request):
    return KINDS[request.param]


@pytest.fixture
def config(convert_config, tmp_path):
    return dataclasses.replace(convert_config, output=tmp_path / "data")


@pytest.fixture(autouse=True)
def stepwise(monkeypatch):
    """Ends a step before every call that others can see."""
    replace, is_wanted = pathlib.Path.replace, Attempt.is_wanted

    def replace_later(path, target):
        interleaving.step()
        return replace(path, target)

    def is_wanted_later(attempt):
        interleaving.step()
        return is_wanted(attempt)

    monkeypatch.setattr(pathlib.Path, "replace", replace_later)
    monkeypatch.setattr(Attempt, "is_wanted", is_wanted_later)
    monkeypatch.setattr(durable, "sync_directory", lambda _: None)
    monkeypatch.setattr(durable.os, "fsync", lambda _: None)


@pytest.fixture(autouse=True)
def _of_other_processes(monkeypatch):
    """Makes the attempts' files those of processes that the sweep does not know."""

    class NoSet(set):
        def add(self, name):
            pass

    monkeypatch.setattr(durable, "_unfinished", NoSet())


def write(config, outcomes):
    attempt = Attempt(config, NAME, work_folder.building(config))
    shard_writing.write(attempt, SHARD, outcomes)


def attempt(config, refused):
    return lambda: write(config, outcomes(*refused))


def begin(config):
    shutil.rmtree(config.output, ignore_errors=True)
    work = work_folder.path(config)
    work.mkdir(parents=True)
    (work / "plan.json").touch()


class Work:
    """Writes the shards that are asked for, as a conversion does."""

    def __init__(self, config):
        self._config, self.num_written = config, 0

    def write(self, pending):
        for _ in pending:
            self.num_written += 1
            write(self._config, outcomes())


def publish(config):
    """Does what a conversion does when all facts are there; returns the facts.

    Returns:
      The facts of the shard, and whether it was written again.
    """
    work = Work(config)
    facts = convert._write_all(config, [SHARD], work)[NAME]
    shutil.rmtree(work_folder.path(config))
    return facts, work.num_written > 0


def check(config, facts):
    for size in (32, 64):
        file = config.output / str(size) / NAME
        assert hashlib.sha256(file.read_bytes()).hexdigest() == facts.files[size].sha256
        assert [path.name for path in file.parent.iterdir()] == [NAME]


def num_steps(config):
    begin(config)
    return interleaving.num_steps(attempt(config, ""))


def test_every_order_of_two_attempts(config, refused):
    count = num_steps(config)
    # Before it is seen to be wanted, thrice, two renames, the facts', and after that.
    assert count == 7
    functions = [attempt(config, one) for one in refused]
    again = 0
    # That both begin their files comes first: it does not matter when they do.
    for order in interleaving.orders(count - 2, count - 2):
        begin(config)
        for one in interleaving.run(functions, (0, 1, 0, 1, *order)):
            assert one.finish() is None
        facts, was_again = publish(config)
        check(config, facts)
        again += was_again
    assert bool(again) == (refused != ("", ""))


def test_one_that_lives_on_while_the_other_is_published(config, refused):
    """Such as of a node that was frozen, given up, and thawed."""
    count, results = num_steps(config), []
    functions = [attempt(config, one) for one in refused]
    for num_before in range(count):
        for order in interleaving.orders(count - 2, num_before):
            begin(config)
            whole, frozen = interleaving.run(functions, (0, 0, *order))
            assert whole.finish() is None
            facts, _ = publish(config)
            results.append(type(frozen.finish()).__name__)
            check(config, facts)
            assert not shard_facts.exist(config, NAME)
    assert {"CommandError", "NoneType"} <= set(results)


def test_the_second_to_end_gives_way(config):
    """Its decoder was late; it notices when it wants to rename."""
    begin(config)
    # Until it has written its files, and is about to look a third time.
    (late,) = interleaving.run([attempt(config, "a")], (0, 0, 0))
    write(config, outcomes())
    before = shard_facts.read(config, NAME)
    assert late.finish() is None
    assert shard_facts.read(config, NAME) == before
    check(config, before)


@pytest.mark.parametrize("num_before", range(7))
def test_an_attempt_at_what_is_not_built_any_more(config, num_before):
    """It ends with an error, and makes no folder anew."""
    begin(config)
    (late,) = interleaving.run([attempt(config, "")], (0,) * num_before)
    shutil.rmtree(config.output, ignore_errors=True)
    ended = late.finish()
    assert isinstance(ended, CommandError)
    assert ended.exit_code == ExitCode.CONFLICT
    assert not config.output.exists()


def test_an_attempt_at_an_earlier_plan_changes_nothing(config):
    begin(config)
    durable.write_json(work_folder.plan_head(config), {"made": 1})
    # A first one has begun, a second one is about to rename.
    late = interleaving.run([attempt(config, "")] * 2, (0, 1, 1, 1))
    durable.write_json(work_folder.plan_head(config), {"made": 2})
    for one in late:
        ended = one.finish()
        assert isinstance(ended, CommandError)
        assert ended.exit_code == ExitCode.CONFLICT
    assert not [path for path in config.output.rglob("*tfrecord*") if path.is_file()]


def test_a_shard_that_is_not_wanted_does_not_shift_the_next(config):
    begin(config)
    write(config, outcomes())
    before = shard_facts.read(config, NAME)
    other = dataclasses.replace(SHARD, name=NAME.replace("test", "train-fold0"))
    both = itertools.chain(outcomes("a"), outcomes("b"))
    tasks = []
    shard_writing.write_all(
        config, [SHARD, other], lambda given: tasks.extend(given) or both
    )
    assert len(tasks) == 4
    assert shard_facts.read(config, NAME) == before
    assert list(shard_facts.read(config, other.name).sources) == ["a"]


def test_a_mixture_is_told(config, caplog):
    begin(config)
    caplog.set_level(logging.WARNING)
    write(config, outcomes())
    durable.write_bytes(config.output / "64" / NAME, b"another's")
    publish(config)
    (record,) = caplog.records
    assert record.message == (
        "1 shard(s) were written twice at once with different outcomes, and are "
        f"written again; the first is {NAME}"
    )


def test_a_conversion_without_a_finished_shard_gives_way(config, monkeypatch):
    monkeypatch.setattr(plan, "fingerprint", lambda _: "inputs")
    planned = plan.Plan(
        shards=[], names={}, labels_without_image=(), files={}, stamps={}
    )
    claim.claim(config, planned)
    other = dataclasses.replace(config, clahe="none")
    claim.claim(other, planned)
    write(other, outcomes())
    with pytest.raises(CommandError, match="clahe: stored 'none'"):
        claim.claim(config, planned)


def test_a_stored_plan_is_no_less_than_a_shard(config, monkeypatch):
    """It may have taken an hour."""
    monkeypatch.setattr(plan, "fingerprint", lambda _: "inputs")
    planned = plan.Plan(
        shards=[], names={}, labels_without_image=(), files={}, stamps={}
    )
    claim.claim(config, planned)
    (work_folder.path(config) / "plan").mkdir()
    with pytest.raises(CommandError, match="clahe: stored 'opencv"):
        claim.claim(dataclasses.replace(config, clahe="none"), planned)
