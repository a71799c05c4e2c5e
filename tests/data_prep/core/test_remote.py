import pathlib
import subprocess
import sys

import pytest

from data_prep.core import cache_folder
from data_prep.core import durable
from data_prep.core import remote
from data_prep.core import store_client
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


def test_texts_become_paths():
    assert remote.parse("a/b") == pathlib.Path("a/b")
    assert remote.parse("file:///a/b") == pathlib.Path("/a/b")
    assert str(remote.parse("s3://b/x/")) == "s3://b/x"
    assert remote.is_remote(remote.parse("gs://b"))
    assert not remote.is_remote(pathlib.Path("a"))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://me:SECRET@host/x",
        "s3://me:SECRET@bucket/x",
        "https://host/x?X-Amz-Signature=SECRET",
        "https://host/x?SECRET",
        "s3://b/k?X-Amz-Signature=SECRET",
        "s3://b/k?versionId=1&X-Amz-Security-Token=SECRET",
        "gs://b/k?GoogleAccessId=me&Signature=SECRET",
        "abfs://b/k?sv=1&SIG=SECRET",
        "gs://b/k?X-Goog-Credential=SECRET",
        "gs://b/k#access_token=SECRET",
        "simplecache::https://h/x?sig=SECRET",
        "simplecache::https://h/SECRET",
        "simplecache::s3://b/SECRET",
        "https://h/x?sig=SECRET://y",
        "h?sig=SECRET://y",
        "SECRET SECRET://y",
        "://SECRET",
        "s3://b/x://SECRET",
    ],
)
def test_what_holds_a_secret_or_is_no_path_is_refused(text, caplog):
    with pytest.raises(CommandError) as e:
        remote.parse(text)
    assert e.value.exit_code == ExitCode.FLAGS
    assert "SECRET" not in str(e.value)
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    "text", ["s3://b/x?/*.dcm", "s3://b/key=1/a", "s3://b/a?key=1"]
)
def test_a_pattern_or_a_name_is_no_secret(text):
    assert str(remote.parse(text)) == text


def test_a_command_does_not_say_the_secret_of_a_path(tmp_path):
    for text in (
        "s3://b/k?X-Amz-Signature=SECRET",
        "simplecache::https://h?sig=SECRET",
    ):
        command = [sys.executable, "-m", "data_prep.main"]
        command += [f"--source={text}", f"--output={tmp_path / 'out'}"]
        root = pathlib.Path(__file__).parents[3]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        assert done.returncode == ExitCode.FLAGS
        assert "path" in done.stderr
        assert "SECRET" not in done.stdout + done.stderr
    for file in tmp_path.rglob("*"):
        assert b"SECRET" not in file.read_bytes()


def test_one_folder_lies_within_another(tmp_path):
    inner, outer = remote.parse("s3://b/x/y"), remote.parse("s3://b/x")
    assert remote.is_within(inner, outer)
    assert not remote.is_within(outer, inner)
    assert not remote.is_within(remote.parse("s3://b/x2"), outer)
    assert not remote.is_within(tmp_path, outer)
    assert not remote.is_within(outer, tmp_path)
    assert remote.is_within(tmp_path / "a", tmp_path)


def test_local_paths_need_no_client_of_a_store():
    code = (
        "import sys, pathlib\n"
        "from data_prep.core import durable, folder_lock\n"
        "from data_prep.dataset import manifest\n"
        "from flags import inference\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "with folder_lock.locked(path): durable.write_text(path / 'a', 'a')\n"
        "names = 'aiohttp asyncio botocore fsspec gcsfs ray s3fs ssl upath'.split()\n"
        "print([name for name in names if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "/tmp/none"]
    command[-1] = str(pathlib.Path(__file__).parent / "__pycache__")
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_missing_client_is_one_line(monkeypatch):
    store_client.fsspec_module.cache_clear()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(CommandError, match=r"pip install -r requirements-cloud\.txt"):
        remote.parse("s3://b/x").exists()


def test_a_file_is_written_where_there_is_room_for_it(store, cache):
    with durable.atomic_write(store / "a.weights.h5") as local:
        assert cache in local.parents
        assert local.name == "a.weights.h5"
        local.write_bytes(b"1")
        assert not (store / "a.weights.h5").exists()
    assert (store / "a.weights.h5").read_bytes() == b"1"
    with pytest.raises(ZeroDivisionError):
        _write_half(store / "b")
    assert not (store / "b").exists()
    assert list((cache / "outgoing").iterdir()) == []


def _write_half(path):
    with durable.atomic_write(path) as local:
        local.write_bytes(b"1")
        raise ZeroDivisionError


def test_leftovers_of_a_killed_process_are_swept(cache, monkeypatch):
    cache_folder._sweep.cache_clear()
    monkeypatch.setattr(cache_folder.socket, "gethostname", lambda: "my-host")
    for name in ("my-host-99999999-x", "other-99999999-x"):
        (cache / "outgoing" / name).mkdir(parents=True)
    with cache_folder.outgoing() as folder:
        assert {p.name for p in folder.parent.iterdir()} == {
            "other-99999999-x",
            folder.name,
        }


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PNEUMOTHORAX_CACHE", str(tmp_path / "file" / "x"))
    with pytest.raises(CommandError, match="name another folder by") as e:
        cache_folder.path()
    assert e.value.exit_code == ExitCode.ENVIRONMENT
