import copy
import dataclasses
import errno
import fcntl
import itertools
import logging
import multiprocessing.context
import os
import pathlib
import subprocess
import sys
import time
import traceback

import pytest

from data_prep.core import memory
from data_prep.core import store_errors
from data_prep.core import tiles
from data_prep.core import worker_handle
from data_prep.core import worker_process
from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.source.source_file import SourceFile

ROOT = pathlib.Path(__file__).parents[3]
# The time of an input includes its worker's start, which may take seconds.
# Joined here, because a traceback quotes the lines of the code.
PATIENT = "^".join(("DOE", "JOHN"))
LIMITS = workers.Limits(memory_bytes=256 << 20, seconds=60)


def slow(seconds):
    time.sleep(seconds)
    return seconds


def die(_):
    os.abort()


def die_once(marker):
    if not marker.exists():
        marker.touch()
        os.abort()
    return marker


def die_in_company(folder):
    """Dies if another process runs it too; otherwise waits until one has died."""
    met = folder / "met"
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            met.touch()
            os.abort()
        if not met.exists():
            # On a busy machine the other process may start late, and so may its
            # second trial, if that does not wait for this one.
            ends = time.monotonic() + 30
            while not met.exists() and time.monotonic() < ends:
                time.sleep(0.05)
            time.sleep(4)
    return folder


def refuse(_):
    raise InputError("CODE", "reason", fix="fix")


def pid(seconds):
    time.sleep(seconds)
    return os.getpid()


def wrong_code(value):
    try:
        {}[value]
    except KeyError as e:
        raise TypeError(f"patient {value}") from e


def raise_os_error(arguments):
    raise OSError(*arguments)


def raise_command_error(_):
    raise CommandError(ExitCode.CONFLICT, "what", fix="fix")


def raise_config_error(_):
    raise ConfigError("Expected a. Received: b")


def lack_memory(_):
    import cv2
    import numpy as np

    cv2.resize(np.zeros((2, 2), np.uint8), (1 << 15, 1 << 15))


@dataclasses.dataclass(frozen=True)
class Span:
    """When an input was worked on, in seconds of the system's clock."""

    began: float
    ended: float


def timed(_):
    began = time.monotonic()
    time.sleep(0.3)
    return Span(began, time.monotonic())


BEHAVIOURS = {
    "wrong code": wrong_code,
    "system": raise_os_error,
    "command": raise_command_error,
    "config": raise_config_error,
    "no pickle": lambda _: lambda: 0,
    "cv2": lack_memory,
    "timed": timed,
    "ok": lambda value: value,
    "slow": slow,
    "die": die,
    "die once": die_once,
    "die in company": die_in_company,
    "hang": slow,
    "eat": lambda size: len(bytearray(size)),
    "refuse": refuse,
    "pid": pid,
}


def behave(item):
    kind, value = item
    return BEHAVIOURS[kind](value)


def run(items, num_workers=2, limits=LIMITS):
    with workers.WorkerPool(behave, num_workers=num_workers, limits=limits) as pool:
        return list(pool.imap_ordered(behave, items))


def test_order_is_that_of_the_input():
    items = [("slow", 0.3), *(("ok", k) for k in range(20))]
    assert [r for _, r in run(items)] == [0.3, *range(20)]


def test_a_refused_input_is_a_result():
    (_, fault), (_, after) = run([("refuse", 0), ("ok", 1)], num_workers=1)
    assert (fault.code, fault.reason, fault.fix) == ("CODE", "reason", "fix")
    assert after == 1


@pytest.mark.parametrize(
    ("item", "code"),
    [(("die", 0), "DCM_DECODER_CRASH"), (("eat", 2 << 30), "DCM_BOMB")],
)
def test_a_killed_worker_costs_one_input(item, code):
    items = [("ok", 0), item, *(("ok", k) for k in range(1, 6))]
    results = [r for _, r in run(items)]
    assert results.pop(1).code == code
    assert results == list(range(6))


@pytest.mark.slow
def test_a_hanging_worker_costs_one_input():
    limits = workers.Limits(memory_bytes=256 << 20, seconds=10)
    results = [r for _, r in run([("ok", 0), ("hang", 600), ("ok", 1)], limits=limits)]
    assert results.pop(1).code == "DCM_TIMEOUT"
    assert results == [0, 1]


def test_input_is_read_lazily():
    taken = []

    def items():
        for k in range(1000):
            taken.append(k)
            yield ("ok", k)

    with workers.WorkerPool(behave, num_workers=1, limits=LIMITS) as pool:
        next(pool.imap_ordered(behave, items()))
    assert len(taken) < 20


@pytest.mark.slow
def test_a_pool_stays_for_another_round():
    with workers.WorkerPool(
        behave, os.path.basename, num_workers=2, limits=LIMITS
    ) as pool:
        pids_of = [set(), set()]
        for round_ in (0, 1):
            for _, pid in pool.imap_ordered(behave, [("pid", 0.02) for _ in range(20)]):
                pids_of[round_].add(pid)
        names = [
            name for _, name in pool.imap_ordered(os.path.basename, ["a/b", "c/d"])
        ]
    assert pids_of[0] == pids_of[1]
    assert names == ["b", "d"]


def test_a_worker_killed_from_outside_costs_no_input(tmp_path):
    """The kernel kills processes when the machine is short of memory."""
    items = [("ok", 0), ("die once", tmp_path / "died"), ("ok", 1), ("slow", 0.2)]
    results = [r for _, r in run(items)]
    assert results == [0, tmp_path / "died", 1, 0.2]


@pytest.mark.slow
def test_the_second_trial_is_alone(tmp_path):
    """Two inputs that only fail together both succeed."""
    items = [("die in company", tmp_path)] * 2 + [("ok", 0)] * 6
    assert [r for _, r in run(items)] == [tmp_path] * 2 + [0] * 6
    assert (tmp_path / "met").exists(), "one of them died"


def lines_of(error):
    return "".join(traceback.format_exception(error))


def test_a_fault_of_ours_is_raised_where_it_can_be_seen():
    with pytest.raises(worker_process.WorkerError, match="^TypeError in a w") as e:
        run([("ok", 0), ("wrong code", PATIENT), *[("ok", k) for k in range(9)]])
    lines = lines_of(e.value)
    assert "in a worker process:\n" in lines
    assert 'test_workers.py", line' in lines
    assert "in wrong_code\n    {}[value]" in lines
    assert lines.count(PATIENT) == 0, "a message may quote a tag value"
    assert "KeyError\nthe cause of\n" in lines


def test_a_fault_in_a_pool_within_another_process_keeps_its_frames():
    """As that of a decoder in the pool of a unit, on another machine."""
    with pytest.raises(worker_process.WorkerError) as inner:
        run([("wrong code", PATIENT)], num_workers=1)
    answer = copy.deepcopy(worker_process.of_exception(inner.value))
    with pytest.raises(worker_process.WorkerError, match="^TypeError in a w") as e:
        answer.throw()
    lines = lines_of(e.value)
    assert "in wrong_code\n    {}[value]" in lines
    assert "KeyError\nthe cause of\n" in lines
    assert "in finish\n" in lines, "where the pool was read"
    assert PATIENT not in lines


def test_a_result_that_cannot_be_pickled_is_a_fault_of_ours():
    with pytest.raises(worker_process.WorkerError) as e:
        run([("no pickle", 0)], num_workers=1)
    assert "pickle.dumps" in lines_of(e.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_fault_of_the_system_keeps_its_number_and_file(number):
    with pytest.raises(OSError, match=os.strerror(number)) as e:
        run([("system", (number, PATIENT, "/a/b"))], num_workers=1)
    expected = OSError(number, os.strerror(number), "/a/b")
    assert (type(e.value), e.value.args) == (type(expected), expected.args)
    assert e.value.filename == "/a/b"
    assert "raise_os_error" in lines_of(e.value)
    assert PATIENT not in lines_of(e.value)


def test_an_os_error_of_a_library_has_no_number():
    with pytest.raises(worker_process.WorkerError, match="^OSError in a worker"):
        run([("system", (PATIENT,))], num_workers=1)


def test_our_own_one_line_errors_stay():
    with pytest.raises(CommandError, match="^what; fix$") as e:
        run([("command", 0)], num_workers=1)
    assert e.value.exit_code == ExitCode.CONFLICT
    with pytest.raises(ConfigError, match="^Expected a. Received: b$"):
        run([("config", 0)], num_workers=1)


def test_opencv_says_otherwise_that_memory_is_short():
    """Its exception is no MemoryError."""
    # The second function brings OpenCV in before the limit is set.
    with workers.WorkerPool(behave, tiles.grid, num_workers=1, limits=LIMITS) as pool:
        results = pool.imap_ordered(behave, [("cv2", 0), ("ok", 1)])
        (_, fault), (_, after) = results
    assert (fault.code, after) == ("DCM_BOMB", 1)


def exit_at_import():
    raise SystemExit(3)


class Unloadable:
    """A function whose module fails to be imported in the worker."""

    def __reduce__(self):
        return exit_at_import, ()

    def __call__(self, item):
        return item


class KilledAtStart(Unloadable):
    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize(("function", "code"), [(Unloadable, 3), (KilledAtStart, -6)])
def test_a_worker_that_cannot_start_blames_no_input(function, code):
    pool = workers.WorkerPool(function(), num_workers=1, limits=LIMITS)
    with pool, pytest.raises(CommandError, match=f"ended with {code} before") as e:
        list(pool.imap_ordered(function(), [0]))
    assert e.value.exit_code == ExitCode.ENVIRONMENT


class LoadedOnce(Unloadable):
    """A function that no process can load any more once one of them has died.

    Args:
      marker: a file that says that one has died.
      load: what loading it calls then.
    """

    def __init__(self, marker, load):
        self._state = marker, load

    def __reduce__(self):
        marker, load = self._state
        return load_once, (marker, load)


def load_once(marker, load):
    if marker.exists():
        load()
    return LoadedOnce(marker, load)


def die_for_good(item):
    if isinstance(item, pathlib.Path):
        item.touch()
        os.abort()
    return item


@pytest.mark.parametrize("load", [exit_at_import, os.abort])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_worker_that_cannot_be_replaced_any_more_is_one_failure(
    load, num_workers, tmp_path
):
    marker, results = tmp_path / "died", []
    function = LoadedOnce(marker, load)
    pool = workers.WorkerPool(
        die_for_good, function, num_workers=num_workers, limits=LIMITS
    )
    items = [0, 1, 2, 3, marker, *range(5, 20)]
    with pool, pytest.raises(CommandError, match="before any work") as e:
        results.extend(pool.imap_ordered(die_for_good, items))
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    # With two workers, the marker's second trial may be in the one that had loaded
    # before: then it has killed two, and is refused as any such input.
    refused = [item for item, result in results if isinstance(result, InputError)]
    assert refused in ([[]] if num_workers == 1 else [[], [marker]])
    expected = [(item, item) for item in items[: len(results)] if item not in refused]
    assert [pair for pair in results if pair[0] not in refused] == expected


def abort_at_first(marker):
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return AbortedAtFirst(marker)
    os.abort()


class AbortedAtFirst(Unloadable):
    """A function whose first load kills the process, as where memory is short."""

    def __init__(self, marker):
        self._marker = marker

    def __reduce__(self):
        return abort_at_first, (self._marker,)


def test_a_start_that_was_killed_is_tried_again_and_blames_no_input(tmp_path):
    """It is not one of the two trials of the input that it was to work on."""
    once = AbortedAtFirst(tmp_path / "started")
    items = [("die once", tmp_path / "died"), ("ok", 1)]
    with workers.WorkerPool(behave, once, num_workers=1, limits=LIMITS) as pool:
        results = [r for _, r in pool.imap_ordered(behave, items)]
    assert results == [tmp_path / "died", 1]
    assert (tmp_path / "started").exists()


def test_a_machine_without_room_for_a_process_says_so(monkeypatch):
    started = []

    def start(process):
        if started:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(process)
        spawn(process)

    spawn = multiprocessing.context.SpawnProcess.start
    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", start)
    with pytest.raises(CommandError, match="cannot be started .Resource temp") as e:
        workers.WorkerPool(behave, num_workers=2, limits=LIMITS)
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert not started[0].is_alive()


UNGUARDED = """
import os, sys
from data_prep.core import workers
limits = workers.Limits(memory_bytes=256 << 20, seconds=60)
with workers.WorkerPool(os.path.basename, num_workers=2, limits=limits) as pool:
    for item, result in pool.imap_ordered(os.path.basename, list("abcdefgh")):
        print(item, result)
"""


def test_a_script_whose_main_part_is_not_guarded_fails_once(tmp_path):
    """Each worker runs it again, up to the line that starts workers."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    *_, last = done.stderr.splitlines()
    assert "a worker process ended with 1 before any work" in last
    assert 'if __name__ == "__main__":' in last
    # Neither of them was started twice.
    assert done.stderr.count("bootstrapping phase") <= 2


def eat(items, needed):
    with workers.WorkerPool(behave, num_workers=2, limits=LIMITS) as pool:
        asked = [("eat", size) for size in items]
        done = pool.imap_ordered(behave, asked, memory_of=lambda _: needed)
        return [result for _, result in done]


def test_the_limit_follows_what_an_input_needs():
    size = 600 << 20
    (refused,) = eat([size], needed=0)
    assert refused.code == "DCM_BOMB"
    assert "needs over 256 MiB" in refused.reason
    assert eat([size, 8], needed=1 << 30) == [size, 8]


def test_where_memory_is_short_the_machine_is_blamed(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 300 << 20)
    refused, small = eat([600 << 20, 8], needed=700 << 20)
    assert (refused.code, small) == ("NO_MEMORY", 8)
    assert refused.reason == (
        "decoding may need 700 MiB of memory, and this machine or job has 300 MiB left"
    )
    assert "where there is more memory" in refused.fix


def test_what_needs_more_than_its_share_runs_alone(monkeypatch, caplog):
    monkeypatch.setattr(memory, "available", lambda: 1 << 30)
    caplog.set_level(logging.INFO)
    kinds = ["large", "small", "small", "small", "small"]
    items = [("timed", kind) for kind in kinds]

    def needed(item):
        return (600 if item[1] == "large" else 1) << 20

    with workers.WorkerPool(behave, num_workers=2, limits=LIMITS) as pool:
        # The second round finds all workers ready.
        for _ in range(2):
            done = pool.imap_ordered(behave, items, memory_of=needed)
            of_large, *of_small = [span for _, span in done]
            assert all(of_large.ended <= small.began for small in of_small)
            assert any(
                a.began < b.ended and b.began < a.ended
                for a, b in itertools.combinations(of_small, 2)
            ), "small ones run together"
    assert [r.message for r in caplog.records] == [
        "Images that may need over 512 MiB of memory are decoded one at a time."
    ]


def test_what_waits_in_the_pipe_of_a_killed_worker_is_not_blamed():
    items = [("slow", 0.5), ("die", 0), ("ok", 1), ("die", 0), ("ok", 2)]
    results = [r for _, r in run(items, num_workers=1)]
    assert [getattr(r, "code", r) for r in results] == [
        0.5,
        "DCM_DECODER_CRASH",
        1,
        "DCM_DECODER_CRASH",
        2,
    ]


@pytest.mark.slow
def test_requests_and_answers_may_be_larger_than_the_pipe():
    items = [("ok", bytes(1 << 20)) for _ in range(12)]
    assert [r for _, r in run(items, num_workers=1)] == [v for _, v in items]


@dataclasses.dataclass(frozen=True)
class Film:
    """An input that has a file."""

    file: SourceFile


def touch_wrongly(film):
    return film.file.nothing


def test_a_fault_names_the_file_at_which_it_came():
    film = Film(SourceFile(path=pathlib.Path("/a/b.dcm"), kind="dicom"))
    pool = workers.WorkerPool(touch_wrongly, num_workers=1, limits=LIMITS)
    with pool, pytest.raises(worker_process.WorkerError) as e:
        list(pool.imap_ordered(touch_wrongly, [film]))
    assert "in a worker process, at /a/b.dcm:\n" in lines_of(e.value)


def wait_for_store(seconds):
    store_errors.asked("s3://b/x", lambda: time.sleep(seconds))
    return seconds


def fail_for_store(_):
    raise store_errors.explained("s3://b/x", ConnectionResetError(104, "x"))


def test_a_slow_store_is_no_fault_of_an_input():
    limits = workers.Limits(memory_bytes=256 << 20, seconds=1)
    with workers.WorkerPool(wait_for_store, slow, num_workers=1, limits=limits) as pool:
        assert [r for _, r in pool.imap_ordered(wait_for_store, [1.5])] == [1.5]
        # The limit counts again after that.
        ((_, result),) = pool.imap_ordered(slow, [60])
    assert result.code == "DCM_TIMEOUT"


def test_a_store_that_fails_in_a_worker_ends_the_command():
    with (
        workers.WorkerPool(fail_for_store, num_workers=1, limits=LIMITS) as pool,
        pytest.raises(CommandError, match="the store of s3://b/x") as e,
    ):
        list(pool.imap_ordered(fail_for_store, [1]))
    assert e.value.exit_code == ExitCode.ENVIRONMENT


def test_a_killed_process_that_does_not_end_is_left_behind(monkeypatch, caplog):
    """One that waits for a dead file system takes no signal."""
    monkeypatch.setattr(worker_handle, "_END_SECONDS", 0.05)
    with workers.WorkerPool(slow, num_workers=1, limits=LIMITS) as pool:
        list(pool.imap_ordered(slow, [0]))
        (worker,) = pool._workers
        process = worker._process
        with monkeypatch.context() as patch:
            patch.setattr(process, "kill", lambda: None)
            worker.stop()
            assert f"{process.pid} has not ended within" in caplog.text
        process.kill()
        worker._start()
