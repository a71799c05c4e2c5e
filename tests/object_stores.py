"""Object stores on this machine: real servers, fsspec's memory, and one that fails."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from collections.abc import Iterator

import pytest

BUCKET = "films"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "us-east-1",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
}


# Their servers' threads log each request, also while later tests look at their own log.
for _name in ("werkzeug", "gcp_storage_emulator"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """Starts moto's server, or skips; yields the address of a bucket."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    import boto3

    server = server_module.ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    _, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    try:
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        server.stop()
        del os.environ["AWS_ENDPOINT_URL"]


@contextlib.contextmanager
def gs() -> Iterator[str]:
    """Starts an emulator of Google's storage, likewise."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed")
    emulator = pytest.importorskip(
        "gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed"
    )
    import fsspec.config

    fsspec.config.conf["gs"] = {"token": "anon"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = emulator.create_server(
        "127.0.0.1", port, in_memory=True, default_bucket=BUCKET
    )
    server.start()
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{port}"
    try:
        yield f"gs://{BUCKET}"
    finally:
        server.stop()
        del os.environ["STORAGE_EMULATOR_HOST"]


class Faults:
    """What the store faulty:// does wrong.

    Attributes:
      calls: (name of the operation, key) of each call.
      on_call: called with these before each; what it raises is what the store answers.
      change: changes the bytes that are read.
    """

    def __init__(self):
        self.calls: list[tuple[str, str]] = []
        self.on_call: Callable[[str, str], None] = lambda name, key: None
        self.change: Callable[[bytes], bytes] = lambda data: data

    def told(self, name: str, key: str) -> None:
        self.calls.append((name, key))
        self.on_call(name, key)

    def fail(self, error: Exception, *, times: int, name: str) -> None:
        """Lets an operation fail the first times."""
        left = [error] * times

        def on_call(called: str, key: str) -> None:
            if called == name and left:
                raise left.pop()

        self.on_call = on_call


@contextlib.contextmanager
def faulty() -> Iterator[Faults]:  # noqa: C901 - the methods of two classes
    """Makes faulty://films a store that fails as the yielded Faults say."""
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    import fsspec
    from fsspec.implementations import memory

    faults = Faults()

    class File(memory.MemoryFile):
        def write(self, data: bytes) -> int:
            half = super().write(data[: len(data) // 2])
            faults.told("write", self.path)
            return half + super().write(data[len(data) // 2 :])

    class FileSystem(memory.MemoryFileSystem):
        protocol = "faulty"
        store, pseudo_dirs = {}, [""]
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            path = path.removeprefix("faulty://").strip("/")
            return f"/{path}" if path else ""

        def _open(self, path, mode="rb", autocommit=True, data=None, **kwargs):
            if mode == "rb":
                faults.told("read", path)
                return memory.MemoryFile(
                    data=faults.change(self.store[path].getvalue())
                )
            if mode == "xb" and path in self.store:
                raise FileExistsError(path)
            file = File(self, path, data)
            if autocommit:
                file.commit()
            return file

        def cat_file(self, path, start=None, end=None, **kwargs):
            path = self._strip_protocol(path)
            faults.told("read", path)
            if path not in self.store:
                raise FileNotFoundError(path)
            return faults.change(self.store[path].getvalue())

        def get_file(self, rpath, lpath, **kwargs):
            with open(lpath, "wb") as file:
                file.write(self.cat_file(rpath))

        def info(self, path, **kwargs):
            faults.told("info", path)
            return super().info(path, **kwargs)

        def rm_file(self, path):
            faults.told("delete", path)
            super().rm_file(path)

    fsspec.register_implementation("faulty", FileSystem, clobber=True)
    yield faults
