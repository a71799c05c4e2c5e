import contextlib
import json

import pytest

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.run import run_mirror

ORIGIN = "faulty://films/run"


class Killed(BaseException):
    """What a kill is here: nothing handles it."""


@pytest.fixture
def origin(faulty):
    path = remote.parse(ORIGIN)
    path.remove_tree()
    return path


def checkpoint(folder, epoch, text):
    """Writes what trainer/run/checkpoints.py writes, with text for arrays."""
    path = folder / f"checkpoints/epoch-{epoch:05d}-step-0000000"
    durable.write_text(path / "arrays.npz", text)
    digest = durable.sha256(path / "arrays.npz")
    durable.write_json(path / "commit.json", {"arrays_sha256": digest})


def trained(folder, epoch):
    """Makes a folder that of a run after an epoch."""
    durable.write_text(folder / "config.json", "{}")
    durable.write_text(folder / f"checkpoints/weights/epoch{epoch}.weights.h5", "w")
    checkpoint(folder, epoch, f"arrays {epoch}")
    durable.write_text(folder / "log.csv", f"{epoch}")
    durable.write_text(folder / "best.weights.h5", f"best {epoch}")
    for old in sorted(folder.glob("checkpoints/epoch-*"))[:-2]:
        remote.remove_tree(old)


def finish(folder):
    best = durable.sha256(folder / "best.weights.h5")
    durable.write_json(folder / "result.json", {"best": best})


def newest(folder):
    """Returns the newest epoch of a folder, whose checkpoints must all be intact."""
    epochs = [0]
    # Not folders, which fsspec's memory keeps when they are empty.
    for path in [arrays.parent for arrays in folder.rglob("arrays.npz")]:
        commit = json.loads((path / "commit.json").read_text())
        assert durable.sha256(path / "arrays.npz") == commit["arrays_sha256"]
        epochs.append(int(path.name[6:11]))
        assert (folder / f"checkpoints/weights/epoch{epochs[-1]}.weights.h5").exists()
        assert (folder / "config.json").exists()
    result = folder / "result.json"
    if result.exists():
        best = durable.read_json(result, fix="")["best"]
        assert durable.sha256(folder / "best.weights.h5") == best
    return max(epochs)


def train(origin, done=lambda epoch: None):
    with run_mirror.opened(origin, index=0) as folder:
        for epoch in range(newest(folder.path) + 1, 4):
            trained(folder.path, epoch)
            folder.upload()
            done(epoch)
        finish(folder.path)


def test_a_local_folder_is_itself(tmp_path):
    with run_mirror.opened(tmp_path, index=0) as folder:
        assert folder.path == tmp_path
        folder.upload()
        folder.try_upload()


def test_a_killed_run_goes_on_from_whatever_the_store_holds(
    origin, faulty, monkeypatch, tmp_path
):
    faulty.calls.clear()
    train(origin)
    num_calls = len(faulty.calls)
    expected = {str(p): p.read_bytes() for p in origin.files()}
    for last in range(0, num_calls, 3):
        origin.remove_tree()
        faulty.calls.clear()

        def kill(name, key, last=last):
            if len(faulty.calls) > last:
                raise Killed

        faulty.on_call = kill
        uploaded = [0]
        with pytest.raises(Killed):
            train(origin, uploaded.append)
        faulty.on_call = lambda name, key: None
        # Another machine: it gets an intact run, with all that was uploaded.
        monkeypatch.setenv("PNEUMOTHORAX_CACHE", str(tmp_path / f"{last}"))
        with run_mirror.opened(origin, index=0) as folder:
            assert newest(folder.path) >= uploaded[-1]
        train(origin)
        # An old checkpoint is left if the kill came before its end.
        found = {str(p): p.read_bytes() for p in origin.files()}
        assert expected.items() <= found.items()


def test_what_is_named_is_uploaded_before_what_names_it(origin, faulty):
    with run_mirror.opened(origin, index=0) as folder:
        for epoch in (1, 2, 3):
            trained(folder.path, epoch)
        finish(folder.path)
        faulty.calls.clear()
        folder.upload()
    order = [key.rpartition("/")[2] for name, key in faulty.calls if name == "write"]
    assert order[-1] == "result.json"
    assert order.index("commit.json") > order.index("arrays.npz")
    assert max(order.index("best.weights.h5"), order.index("config.json")) < (
        order.index("commit.json")
    )


def test_a_checkpoint_saved_again_is_never_a_damaged_one(origin, faulty):
    with run_mirror.opened(origin, index=0) as folder:
        trained(folder.path, 1)
        trained(folder.path, 2)
        folder.upload()
        checkpoint(folder.path, 2, "other arrays")

        def kill(name, key):
            if name == "write" and key.endswith("commit.json"):
                raise Killed

        faulty.on_call = kill
        with pytest.raises(Killed):
            folder.upload()
        faulty.on_call = lambda name, key: None
        other = run_mirror.RunMirror(origin, folder.path.with_name("other"))
        other.fetch()
        assert newest(other.path) == 1


def test_what_did_not_change_is_not_uploaded_again(origin, faulty):
    with run_mirror.opened(origin, index=0) as folder:
        trained(folder.path, 1)
        folder.upload()
        faulty.calls.clear()
        durable.write_text(folder.path / "log.csv", "new")
        folder.upload()
    assert {key for name, key in faulty.calls if name == "write"} == {
        "/films/run/log.csv"
    }


def test_only_the_chief_uploads_and_curves_are_not_fetched(origin, cache):
    durable.write_text(origin / "tensorboard/events", "old")
    durable.write_text(origin / "steps.csv", "1")
    with run_mirror.opened(origin, index=1) as folder:
        assert [p.name for p in folder.path.iterdir()] == ["steps.csv"]
        durable.write_text(folder.path / "steps.csv", "2")
    assert (origin / "steps.csv").read_text() == "1"
    with run_mirror.opened(origin, index=0) as folder:
        pass
    assert (origin / "tensorboard/events").exists()
    assert list((cache / "runs").iterdir()) == []


def test_training_goes_on_while_the_store_is_away(origin, faulty, caplog):
    with run_mirror.opened(origin, index=0) as folder:
        trained(folder.path, 1)
        faulty.fail(ConnectionError("x"), times=99, name="write")
        folder.try_upload()
        assert "1 epochs are not in the store yet" in caplog.text
        faulty.fail(ConnectionError("x"), times=99, name="write")
        with pytest.raises(CommandError, match="does not do what was asked"):
            folder.upload()
        faulty.on_call = lambda name, key: None
        trained(folder.path, 2)
    with run_mirror.opened(origin, index=0) as folder:
        assert newest(folder.path) == 2


def killed(origin, faulty, num_writes, epochs):
    """Trains epochs on this machine, which is killed at a write to the store.

    Returns the folder that it leaves, in which all of these epochs are.
    """
    writes = []

    def kill(name, key):
        writes.extend([key] * (name == "write"))
        if len(writes) > num_writes:
            raise Killed

    paths = []

    def run():
        with run_mirror.opened(origin, index=0) as folder:
            paths.append(folder.path)
            trained(folder.path, epochs[0])
            folder.upload()
            faulty.on_call = kill
            for epoch in epochs[1:-1]:
                trained(folder.path, epoch)
                with contextlib.suppress(Killed):
                    folder.upload()
            trained(folder.path, epochs[-1])
            folder.upload()

    with pytest.raises(Killed):
        run()
    faulty.on_call = lambda name, key: None
    return paths[0]


@pytest.mark.parametrize("num_writes", range(6))
def test_this_machine_goes_on_from_what_was_not_uploaded(origin, faulty, num_writes):
    """Also where the store got half of one epoch, and the next one was trained."""
    left = killed(origin, faulty, num_writes, [1, 2, 3])
    assert newest(left) == 3
    with run_mirror.opened(origin, index=0) as folder:
        assert folder.path == left
        assert newest(folder.path) == 3
        # Already before the training goes on.
        assert newest(origin) == 3
    assert not left.exists()
    assert sorted(p.parent.name for p in origin.rglob("arrays.npz")) == [
        "epoch-00002-step-0000000",
        "epoch-00003-step-0000000",
    ]


@pytest.mark.parametrize("num_writes", [0, 3])
def test_what_another_machine_has_overtaken_is_kept_aside(
    origin, faulty, num_writes, monkeypatch, cache, tmp_path, caplog
):
    left = killed(origin, faulty, num_writes, [1, 2])
    monkeypatch.setenv("PNEUMOTHORAX_CACHE", str(tmp_path / "another"))
    with run_mirror.opened(origin, index=0) as folder:
        assert newest(folder.path) == 1
        for epoch in (2, 3):
            trained(folder.path, epoch)
            durable.write_text(folder.path / "log.csv", f"other {epoch}")
    monkeypatch.setenv("PNEUMOTHORAX_CACHE", str(cache))
    with run_mirror.opened(origin, index=0) as folder:
        assert newest(folder.path) == 3
        assert (folder.path / "log.csv").read_text() == "other 3"
    kept = left.with_name(f"{left.name}-not-uploaded-1")
    assert f"They stay in {kept}" in caplog.text
    assert newest(kept) == 2
    assert (origin / "log.csv").read_text() == "other 3"
    # Each later start names it.
    caplog.clear()
    with run_mirror.opened(origin, index=0) as folder:
        pass
    assert f"{kept} has " in caplog.text
    assert newest(kept) == 2


@pytest.mark.parametrize("ends_by_error", [False, True])
def test_what_the_store_does_not_take_is_kept_and_named(
    origin, faulty, ends_by_error, caplog
):
    error, paths = ZeroDivisionError if ends_by_error else CommandError, []

    def run():
        with run_mirror.opened(origin, index=0) as folder:
            paths.append(folder.path)
            trained(folder.path, 1)
            faulty.fail(PermissionError("expired"), times=99, name="write")
            if ends_by_error:
                raise ZeroDivisionError

    with pytest.raises(error) as e:
        run()
    faulty.on_call = lambda name, key: None
    (left,) = paths
    said = caplog.text if ends_by_error else str(e.value)
    assert f"only in {left}" in said
    assert "run the same command on this machine again" in said
    assert newest(left) == 1
    with run_mirror.opened(origin, index=0) as folder:
        assert newest(folder.path) == 1
    assert newest(origin) == 1


def test_what_dead_processes_left_is_swept_and_what_live_ones_use_is_not(origin, cache):
    other = remote.parse("faulty://films/other")
    (cache / "runs/half-fetched").mkdir(parents=True)
    with run_mirror.opened(other, index=0) as used:
        with run_mirror.opened(origin, index=0) as folder:
            assert {p.name for p in (cache / "runs").iterdir() if p.is_dir()} == {
                used.path.name,
                folder.path.name,
            }
            with (
                pytest.raises(CommandError, match="another process of this machine"),
                run_mirror.opened(origin, index=0),
            ):
                pass
        assert used.path.is_dir()


@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_a_machine_that_was_frozen_writes_nothing_over_the_new_run(
    origin, faulty, after, monkeypatch
):
    """The other one takes over before an upload, within one, or before deletions."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder_lock.locked(origin))
        folder = stack.enter_context(run_mirror.opened(origin, index=0))
        for epoch in (1, 2):
            trained(folder.path, epoch)
            folder.upload()
        trained(folder.path, 3)
        # One thread: else other files of the same stage are on their way.
        monkeypatch.setattr(run_mirror, "_THREADS", 1)
        faulty.calls.clear()
        taken = []

        def take_over(name=None, key=None):
            writes = [key for name, key in faulty.calls if name == "write"]
            if len(writes) >= after and not taken:
                taken.append(len(writes))
                (origin / ".lock.owner").unlink()
                (origin / ".lock.owner").write_bytes(b'{"host": "b", "pid": 7}')
                faulty.calls.clear()

        faulty.on_call = take_over
        take_over()
        message = "process 7 on b has taken over .*: this one no longer writes there"
        with pytest.raises(CommandError, match=message) as e:
            folder.try_upload()
        assert e.value.exit_code == ExitCode.CONFLICT
        # At most what was on its way is still done.
        stage = [name for name, key in faulty.calls if not key.endswith(".owner")]
        assert stage.count("delete") == 0
        names = [key for name, key in faulty.calls if name == "write"]
        assert not any(n.endswith(("result.json", "log.csv")) for n in names[1:])
        with pytest.raises(CommandError, match="has taken over"):
            stack.close()
    assert (origin / ".lock.owner").read_bytes() == b'{"host": "b", "pid": 7}'


def test_an_object_that_is_replaced_while_it_is_fetched_is_refused(origin, faulty):
    durable.write_text(origin / "log.csv", "1")

    def replace(name, key):
        if name == "read":
            faulty.on_call = lambda name, key: None
            durable.write_text(origin / "log.csv", "2")

    faulty.on_call = replace
    with (
        pytest.raises(CommandError, match="log.csv changed while it was fetched"),
        run_mirror.opened(origin, index=0),
    ):
        pass


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_curves_of_a_run_that_begins_anew_leave_the_store(origin, has_checkpoint):
    durable.write_text(origin / "config.json", "{}")
    durable.write_text(origin / "tensorboard/old", "old")
    if has_checkpoint:
        checkpoint(origin, 1, "arrays")
    with run_mirror.opened(origin, index=0) as folder:
        durable.write_text(folder.path / "tensorboard/new", "new")
    names = {p.name for p in origin.files()}
    assert "new" in names
    assert ("old" in names) == has_checkpoint


@pytest.mark.parametrize("key", ["../../evil", "checkpoints/../../evil"])
def test_an_object_whose_name_leads_out_is_refused(origin, cache, key):
    """A name of a store may have any parts, and becomes a path of this machine."""
    (origin / "config.json").write_bytes(b"{}")
    (origin / key).write_bytes(b"evil")
    with (
        pytest.raises(CommandError, match="leads out of the run folder") as caught,
        run_mirror.opened(origin, index=0),
    ):
        pass
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert not [path for path in cache.parent.rglob("evil")]
