import asyncio
import io
import pathlib
import pickle
import traceback
import zipfile

import pytest

from data_prep.core import durable
from data_prep.core import remote
from data_prep.core import store_client
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.remote_path import RemotePath

# aiohttp's advice to gcsfs.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


def test_names_are_those_of_a_local_path():
    path, local = RemotePath("s3://b/x/y.tar.gz"), pathlib.PurePosixPath("b/x/y.tar.gz")
    for name in ("name", "stem", "suffix"):
        assert getattr(path, name) == getattr(local, name)
    assert path.parent / "z" == path.with_name("z") == RemotePath("s3://b/x/z/")
    assert [str(p) for p in path.parents] == ["s3://b/x", "s3://b"]
    assert RemotePath("s3://b").parent == RemotePath("s3://b")
    relative = path.relative_to(RemotePath("s3://b"))
    assert relative == pathlib.PurePosixPath("x/y.tar.gz")
    with pytest.raises(ValueError, match="not below"):
        path.relative_to(RemotePath("s3://b/x2"))
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301
    assert len({path, RemotePath("s3://b/x/y.tar.gz")}) == 1


def test_paths_are_sorted_as_local_ones():
    keys = ["a/b", "a.b", "a-b/c", "a", "B", "a/b/c", "ä"]
    expected = [str(p) for p in sorted(pathlib.PurePosixPath(k) for k in keys)]
    found = sorted(RemotePath(f"s3://b/{k}") for k in reversed(keys))
    assert [str(p)[len("s3://b/") :] for p in found] == expected


def test_what_was_written_is_found_and_read(store):
    assert not store.exists()
    assert not store.is_dir()
    assert list(store.iterdir()) == store.files() == []
    for key in ("one/a.json", "two/a.json", "two/b [1]?.txt", "c"):
        durable.write_text(store / key, key)
    assert store.is_dir()
    assert not store.is_file()
    assert (store / "c").is_file()
    assert not (store / "c").is_dir()
    assert [p.name for p in store.iterdir()] == ["c", "one", "two"]
    assert [p.parent.name for p in store.glob("*/a.json")] == ["one", "two"]
    assert [p.name for p in store.glob("two/*.txt")] == ["b [1]?.txt"]
    assert list(store.glob("two/none")) == []
    assert [p.name for p in store.rglob("*.json")] == ["a.json"] * 2
    assert remote.matching(store / "t*o/a.json") == [store / "two/a.json"]
    assert (store / "two/b [1]?.txt").read_text() == "two/b [1]?.txt"
    with (store / "c").open() as file:
        assert file.read() == "c"
    (store / "c").unlink()
    (store / "c").unlink(missing_ok=True)
    assert not (store / "c").exists()
    store.remove_tree()
    store.remove_tree()
    assert store.files() == []
    with pytest.raises(FileNotFoundError) as e:
        (store / "c").read_bytes()
    assert e.value.filename == str(store / "c")


def test_a_large_object_is_read_in_parts(store):
    # More than is read at once. The emulator of gs:// takes no more in one piece.
    data = bytes(range(256)) * (19 << 10)
    durable.write_bytes(store / "a.bin", data)
    assert (store / "a.bin").read_bytes() == data
    with (store / "a.bin").open("rb", buffering=0) as file:
        assert file.read(3) == data[:3]
        assert file.seek(1 << 20) == 1 << 20
        buffer = bytearray(10)
        assert file.readinto(buffer) == 10
        assert bytes(buffer) == data[1 << 20 : (1 << 20) + 10]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/y", data)
    durable.write_bytes(store / "a.zip", packed.getvalue())
    with zipfile.ZipFile((store / "a.zip").open("rb")) as archive:
        assert archive.read("x/y") == data


def test_a_listing_shows_what_was_replaced(store):
    durable.write_text(store / "a", "1")
    (before,) = store.files()
    assert before.stat() == (store / "a").stat()
    assert store.files()[0].stat() == before.stat()
    durable.write_text(store / "a", "2")
    assert store.files()[0].stat() != before.stat()


def test_an_object_is_only_made_where_there_is_none(store):
    assert (store / "lock").create(b"mine")
    if str(store).startswith("gs://"):
        # The emulator does not heed it, so only that it is asked for is shown.
        return
    assert not (store / "lock").create(b"yours")
    assert (store / "lock").read_bytes() == b"mine"


def test_google_is_asked_to_make_an_object_only_where_there_is_none(gs, monkeypatch):
    fs, _ = gs.opened()
    call, asked = type(fs)._call, []

    async def told(self, method, path, *args, **kwargs):
        asked.append((method, path, kwargs.get("ifGenerationMatch")))
        return await call(self, method, path, *args, **kwargs)

    monkeypatch.setattr(type(fs), "_call", told)
    assert (gs / "lock").create(b"mine")
    assert [
        method
        for method, path, match in asked
        if match in (0, "0") or "ifGenerationMatch=0" in path
    ] == ["POST"]


def test_another_process_is_seen_at_once(store):
    # A listing that is kept would hide it.
    assert not (store / "a").exists()
    fs, key = (store / "a").opened()
    fs.pipe_file(key, b"1")
    assert (store / "a").exists()
    fs.rm_file(key)
    assert not (store / "a").exists()


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_missing_bucket_is_one_line(kind, request):
    path = remote.parse(f"{request.getfixturevalue(kind).parts[0]}-none/x/a.txt")
    assert not path.exists()
    assert path.parent.files() == []
    with pytest.raises(CommandError, match="there is no such bucket; make ") as e:
        durable.write_text(path, "a")
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert str(path) in str(e.value)


FAULTY = "faulty://films/a"


def test_what_fails_twice_is_asked_again(faulty, caplog):
    faulty.fail(ConnectionError("no"), times=2, name="write")
    durable.write_text(remote.parse(FAULTY), "text")
    assert caplog.text.count("no answer (ConnectionError), asked again") == 2
    faulty.fail(TimeoutError("no"), times=2, name="read")
    assert remote.parse(FAULTY).read_text() == "text"


def test_what_fails_for_good_is_one_line_without_the_stores_words(faulty):
    secret = "https://x/?X-Amz-Signature=abc"
    faulty.fail(ConnectionResetError(104, secret), times=9, name="info")
    with pytest.raises(CommandError) as e:
        remote.parse(FAULTY).exists()
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert str(e.value).startswith(f"the store of {FAULTY} does not do what was asked")
    assert "ECONNRESET" in str(e.value)
    assert "Signature" not in str(e.value)


def test_no_permission_is_said_once(faulty):
    faulty.fail(PermissionError("x"), times=9, name="read")
    with pytest.raises(CommandError, match="no permission for .*AWS_") as e:
        remote.parse(FAULTY).read_bytes()
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert len([c for c in faulty.calls if c[0] == "read"]) == 1


def test_our_own_faults_are_not_the_stores(faulty):
    faulty.fail(TypeError("x"), times=1, name="read")
    with pytest.raises(TypeError):
        remote.parse(FAULTY).read_bytes()


SIGNED = "https://me:SECRET@h/x?X-Amz-Signature=SECRET&b='SECRET"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"cannot open {SIGNED}"),
        KeyError(SIGNED),
        RuntimeError("x", SIGNED),
        UnicodeDecodeError("ascii", b"x", 0, 1, f"no address: {SIGNED}"),
        TimeoutError(SIGNED),
        OSError(5, SIGNED),
        FileNotFoundError(2, SIGNED),
        PermissionError(SIGNED),
    ],
)
def test_no_error_of_a_client_tells_a_secret(faulty, error, caplog):
    error.__cause__ = ConnectionError(SIGNED)
    faulty.fail(error, times=9, name="read")
    with pytest.raises(Exception) as e:  # noqa: PT011 - of any class
        remote.parse(FAULTY).read_bytes()
    told = str(e.value)
    if not isinstance(e.value, (CommandError, FileNotFoundError)):
        # It is shown with its traceback.
        told = "".join(traceback.format_exception(e.value))
        assert "://...@h/x?..." in str(e.value)
    assert "SECRET" not in told + caplog.text


def test_an_upload_that_dies_leaves_nothing(faulty):
    faulty.fail(ConnectionError("no"), times=9, name="write")
    with pytest.raises(CommandError):
        durable.write_bytes(remote.parse(FAULTY), b"12345678")
    assert not remote.parse(FAULTY).exists()


def test_parts_of_an_upload_that_dies_leave_nothing(s3, monkeypatch):
    fs, _ = s3.opened()
    call = type(fs)._call_s3

    async def dying(self, method, *args, **kwargs):
        if method == "upload_part" and kwargs["PartNumber"] == 2:
            raise ConnectionError("no")
        return await call(self, method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "_call_s3", dying)
        with pytest.raises(CommandError, match="does not do what was asked"):
            durable.write_bytes(s3 / "large", bytes(101 << 20))
    _end_requests()
    assert not (s3 / "large").exists()


def _end_requests():
    """Ends those of the other parts, whose errors would be logged in later tests."""
    from fsspec import asyn

    async def end():
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for request in others:
            request.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyn.sync(asyn.get_loop(), end, timeout=60)


def test_half_an_object_is_no_answer(faulty):
    path = remote.parse(FAULTY)
    path.write_bytes(b"12345678")
    faulty.change = lambda data: data[:4]
    with pytest.raises(CommandError, match="IncompleteReadError"):
        path.read_bytes()


def test_an_unknown_protocol_is_refused(cache):
    pytest.importorskip("fsspec")
    with pytest.raises(CommandError, match="fsspec does not know") as e:
        remote.parse("s4://b/x").exists()
    assert e.value.exit_code == ExitCode.FLAGS


def test_a_local_file_that_is_missing_is_not_a_missing_bucket(store, tmp_path):
    with pytest.raises(FileNotFoundError) as e:
        (store / "a").upload(tmp_path / "none")
    assert e.value.filename == str(tmp_path / "none")


def test_only_stores_are_trusted_to_show_an_upload_at_its_end(s3, gs):
    fsspec = store_client.fsspec_module()
    for path in (s3, gs):
        assert store_client.puts_whole(path.opened()[0])
    # It is asynchronous, too.
    http = fsspec.get_filesystem_class("http")
    assert not store_client.puts_whole(http())


def test_what_a_client_does_not_offer_is_one_line(faulty):
    faulty.fail(NotImplementedError("x"), times=9, name="write")
    with pytest.raises(CommandError, match="does not do .*, tried 1 times"):
        remote.parse(FAULTY).write_bytes(b"1234")
