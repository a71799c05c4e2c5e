"""A path in an object store, with the methods of pathlib.Path that this project uses.

It stands on fsspec (s3fs, gcsfs and others), which is imported when a store is first
asked. universal-pathlib's UPath would be the ready-made class; but its `mkdir` makes
buckets, its `exists` is False for some stores that do not answer, and each of a million
paths takes over a kilobyte.

Credentials come from where fsspec and the stores' own programs look for them: FSSPEC_*,
AWS_*, GOOGLE_* in the environment, and their files.
"""

import contextlib
import dataclasses
import datetime
import fnmatch
import functools
import hashlib
import io
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from data_prep.core import store_errors
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

# Bytes that are read at once of a stream, and of one of which the start matters.
_BLOCK = 4 << 20
_SMALL_BLOCK = 64 << 10
# Names of what a store says about the content of an object: S3, GCS, Azure.
_CONTENT_KEYS = ("ETag", "md5Hash", "etag", "content_md5")
_TIME_KEYS = ("LastModified", "mtime", "updated", "last_modified", "created")


@dataclasses.dataclass(frozen=True)
class Stat:
    """What a store says of an object.

    Attributes:
      st_size: number of bytes.
      st_mtime_ns: changes when the object is replaced. It is a number made from the
        hash that the store keeps, or a time where it keeps none.
    """

    st_size: int
    st_mtime_ns: int


@functools.total_ordering
class RemotePath:
    """An object, or what a store takes for a folder.

    Args:
      url: protocol://bucket/key.
      stat: what a listing has said about it, if it was listed.
    """

    __slots__ = ("_stat", "_url")

    def __init__(self, url: str, stat: Stat | None = None):
        protocol, _, rest = url.partition("://")
        self._url = f"{protocol}://{rest.rstrip('/')}"
        self._stat = stat

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"RemotePath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._url == other._url

    def __lt__(self, other: "RemotePath") -> bool:
        # By their parts, as local paths are sorted.
        return self.parts < other.parts

    def __hash__(self) -> int:
        return hash(self._url)

    def __reduce__(self):
        return RemotePath, (self._url, self._stat)

    def __truediv__(self, other: str | pathlib.PurePath) -> "RemotePath":
        return RemotePath(f"{self._url}/{str(other).removeprefix('/')}")

    def as_posix(self) -> str:
        return self._url

    @property
    def parts(self) -> tuple[str, ...]:
        """The store with its bucket, then the parts of the key."""
        protocol, _, rest = self._url.partition("://")
        bucket, *key = rest.split("/")
        return (f"{protocol}://{bucket}", *key)

    @property
    def name(self) -> str:
        """The last part, which may be the bucket."""
        return self._url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return pathlib.PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return pathlib.PurePosixPath(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """The folder above; that of a bucket is the bucket."""
        above = self.parts[:-1]
        return RemotePath("/".join(above)) if above else self

    @property
    def parents(self) -> tuple["RemotePath", ...]:
        parts = self.parts
        return tuple(
            RemotePath("/".join(parts[:n])) for n in range(len(parts) - 1, 0, -1)
        )

    def with_name(self, name: str) -> "RemotePath":
        return self.parent / name

    def relative_to(self, folder: "RemotePath") -> pathlib.PurePosixPath:
        """Returns the parts below a folder; raises a ValueError if it is not below."""
        if not self.is_relative_to(folder):
            raise ValueError(f"{self} is not below {folder}")
        return pathlib.PurePosixPath(*self.parts[len(folder.parts) :])

    def is_relative_to(self, folder: object) -> bool:
        if not isinstance(folder, RemotePath):
            return False
        return self.parts[: len(folder.parts)] == folder.parts

    def resolve(self) -> "RemotePath":
        """Returns the path itself: a store has neither links nor a current folder."""
        return self

    absolute = expanduser = resolve

    # What asks the store. All of it raises a CommandError if there is no answer.

    def _ask(self, function: str, *args: Any, **kwargs: Any) -> Any:
        def ask():
            fs, key = self.opened()
            return getattr(fs, function)(key, *args, **kwargs)

        return store_errors.asked(self._url, ask)

    def opened(self) -> tuple[Any, str]:
        """Returns the fsspec file system, and the path in it.

        Raises:
          CommandError: fsspec is not installed, or knows no such protocol.
        """
        fsspec = _fsspec()
        try:
            # Another process may have written since a listing was kept.
            return fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        except ValueError as e:
            raise CommandError(
                ExitCode.FLAGS,
                f"{self} has a protocol that fsspec does not know",
                fix="correct the path; s3:// and gs:// are some",
            ) from e

    def info(self) -> dict[str, Any] | None:
        """Returns what the store says of it; None if there is nothing."""
        try:
            return self._ask("info")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self) -> bool:
        return self.info() is not None

    def is_file(self) -> bool:
        return (self.info() or {}).get("type") == "file"

    def is_dir(self) -> bool:
        """Returns whether an object lies below it, or the bucket exists."""
        return (self.info() or {}).get("type") == "directory"

    def is_symlink(self) -> bool:
        return False

    def stat(self) -> Stat:
        """Returns size and state, as of the listing if it was listed.

        Raises:
          FileNotFoundError: there is no such object.
        """
        return self._stat or _stat(self._ask("info"))

    def modified(self) -> float | None:
        """Returns when the store has got the object, in seconds since 1970.

        It is by the clock of the store; None if there is no object, or no time of it.
        """
        info = self.info() or {}
        found = next((info[key] for key in _TIME_KEYS if info.get(key)), None)
        if isinstance(found, str):
            found = datetime.datetime.fromisoformat(found.replace("Z", "+00:00"))
        if isinstance(found, datetime.datetime):
            found = found.timestamp()
        return found

    def read_bytes(self) -> bytes:
        """Returns the whole object.

        Raises:
          FileNotFoundError: there is no such object.
        """

        def ask() -> bytes:
            fs, key = self.opened()
            data = fs.cat_file(key)
            expected = self._stat and self._stat.st_size
            # It may have been replaced since it was listed.
            if len(data) != expected and len(data) != fs.info(key)["size"]:
                raise store_errors.IncompleteReadError("fewer bytes than the object")
            return data

        return store_errors.asked(self._url, ask)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Returns a stream to read; with `buffering=0` it reads little ahead."""
        if mode not in ("r", "rb"):
            raise NotImplementedError(f"{self} is written by durable.atomic_write")
        block = _BLOCK if buffering else _SMALL_BLOCK
        stream = _Stream(self._url, self._ask("open", "rb", block_size=block))
        if mode == "rb":
            return stream
        return io.TextIOWrapper(stream, encoding=encoding or "utf-8", newline=newline)

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yields what lies directly below, sorted."""
        try:
            entries = self._ask("ls", detail=True)
        except FileNotFoundError:
            return
        found = (self / _last(entry["name"]) for entry in entries)
        yield from sorted(path for path in found if path != self)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yields the paths below that match, such as `*/dataset.json`, sorted."""
        first, _, rest = pattern.partition("/")
        if any(c in first for c in "*?["):
            names = [p for p in self.iterdir() if fnmatch.fnmatchcase(p.name, first)]
        else:
            names = [self / first] if rest or (self / first).exists() else []
        for path in names:
            yield from path.glob(rest) if rest else [path]

    def rglob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yields the objects at any depth whose name matches, sorted."""
        yield from (p for p in self.files() if fnmatch.fnmatchcase(p.name, pattern))

    def files(self) -> list["RemotePath"]:
        """Returns all objects at any depth, sorted, each with its state.

        An empty object whose name ends with a slash stands for a folder and is left
        out.
        """
        try:
            entries = self._ask("find", detail=True)
        except FileNotFoundError:
            return []
        base = self.opened()[1].rstrip("/")
        return sorted(
            RemotePath(f"{self._url}/{name[len(base) :].lstrip('/')}", _stat(entry))
            for name, entry in entries.items()
            if not name.endswith("/") and len(name) > len(base)
        )

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes an object."""
        try:
            self._ask("rm_file")
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: objects need no folder, and no command makes a bucket."""

    def remove_tree(self) -> None:
        """Deletes all objects below; none is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._ask("rm", recursive=True)

    def write_bytes(self, data: bytes) -> None:
        """Makes an object, whole or not at all."""

        def ask() -> None:
            fs, key = self.opened()
            if _puts_whole(fs):
                fs.pipe_file(key, data)
            else:
                _write_aside(fs, key, io.BytesIO(data))

        self._written(ask)

    def create(self, data: bytes) -> bool:
        """Makes an object unless there is one; returns whether it was made.

        It is one operation in stores that offer that (S3's If-None-Match, GCS'
        ifGenerationMatch).
        """
        try:
            self._written(lambda: _create(*self.opened(), data))
        except FileExistsError:
            return False
        return True

    def upload(self, file: pathlib.Path) -> None:
        """Makes an object of a local file, whole or not at all.

        Raises:
          FileNotFoundError: there is no such file.
          CommandError: the store does not take it.
        """

        def ask() -> None:
            fs, key = self.opened()
            if _puts_whole(fs):
                fs.put_file(str(file), key)
                return
            with file.open("rb") as stream:
                _write_aside(fs, key, stream)

        try:
            self._written(ask)
        except CommandError:
            # The file may be what was not found.
            file.stat()
            raise

    def download(self, file: pathlib.Path) -> None:
        """Writes the object to a local file, which may be cut if this fails.

        Raises:
          FileNotFoundError: there is no such object.
        """

        def ask() -> None:
            fs, key = self.opened()
            fs.get_file(key, str(file))

        store_errors.asked(self._url, ask)

    def _written(self, ask) -> None:
        try:
            store_errors.asked(self._url, ask)
        except FileNotFoundError as e:
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"{self} cannot be written, there is no such bucket",
                fix=f"make {self.parts[0]}, or correct the path",
            ) from e


class _Stream(io.BufferedIOBase):
    """A stream of fsspec whose failures are those of this module."""

    def __init__(self, url: str, stream: Any):
        self._url, self._stream = url, stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        position = self._stream.tell()

        def ask() -> bytes:
            self._stream.seek(position)
            return self._stream.read(-1 if size is None else size)

        return store_errors.asked(self._url, ask)

    read1 = read

    def readinto(self, buffer) -> int:
        data = self.read(len(memoryview(buffer).cast("B")))
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    readinto1 = readinto

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


@functools.cache
def _fsspec():
    # gcsfs asks another service, by gRPC, what kind of bucket it is: a closed network
    # lets that wait, and nothing here depends on it.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # They tell at INFO where they found credentials, for each process.
    for name in ("aiobotocore", "botocore", "fsspec", "gcsfs", "google", "s3fs"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        import fsspec
        import fsspec.core
    except ImportError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "paths of object stores need fsspec, which is not installed",
            fix=store_errors.INSTALL,
        ) from e
    return fsspec


def _puts_whole(fs: Any) -> bool:
    """Returns whether an upload of this file system appears at its end only."""
    import fsspec.asyn

    # These are the clients of object stores. Others write as they go, and offer to
    # commit in the end instead.
    return isinstance(fs, fsspec.asyn.AsyncFileSystem)


def _write_aside(fs: Any, key: str, source: io.BufferedIOBase) -> None:
    fs.makedirs(fs._parent(key), exist_ok=True)  # noqa: SLF001 - has no public name
    file = fs.open(key, "wb", autocommit=False)
    try:
        while block := source.read(_BLOCK):
            file.write(block)
        file.close()
    except BaseException:
        file.discard()
        raise
    file.commit()


def _create(fs: Any, key: str, data: bytes) -> None:
    if not _puts_whole(fs):
        fs.makedirs(fs._parent(key), exist_ok=True)  # noqa: SLF001
    fs.pipe_file(key, data, mode="create")


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _stat(info: dict[str, Any]) -> Stat:
    for key in _CONTENT_KEYS:
        if info.get(key):
            digest = hashlib.sha256(str(info[key]).encode()).digest()
            return Stat(info["size"], int.from_bytes(digest[:7], "big"))
    found = next((info[key] for key in _TIME_KEYS if info.get(key)), 0)
    if hasattr(found, "timestamp"):
        return Stat(info["size"], int(found.timestamp() * 1e9))
    if isinstance(found, str):
        digest = hashlib.sha256(found.encode()).digest()
        return Stat(info["size"], int.from_bytes(digest[:7], "big"))
    return Stat(info["size"] or 0, int(found * 1e9))
