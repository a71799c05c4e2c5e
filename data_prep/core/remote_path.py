"""A path in an object store, with the methods of pathlib.Path that this project uses.

It stands on fsspec (s3fs, gcsfs and others), which is imported when a store is first
asked. universal-pathlib's UPath would be the ready-made class; but its `mkdir` makes
buckets, its `exists` is False for some stores that do not answer, and each of a million
paths takes over a kilobyte.

Credentials come from where fsspec and the stores' own programs look for them: FSSPEC_*,
AWS_*, GOOGLE_* in the environment, and their files.
"""

import contextlib
import fnmatch
import io
import pathlib
from collections.abc import Iterator
from typing import Any

from data_prep.core import remote_stat
from data_prep.core import store_client
from data_prep.core import store_errors
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.remote_name import RemoteName
from data_prep.core.remote_stream import RemoteStream

# Bytes that are read at once of a stream of which the start matters.
_SMALL_BLOCK = 64 << 10


class RemotePath(RemoteName):
    """An object, or what a store takes for a folder.

    Args:
      url: protocol://bucket/key.
      stat: what a listing has said about it, if it was listed.
    """

    __slots__ = ("_stat",)

    def __init__(self, url: str, stat: remote_stat.Stat | None = None):
        super().__init__(url)
        self._stat = stat

    def __reduce__(self):
        return RemotePath, (self._url, self._stat)

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
        fsspec = store_client.fsspec_module()
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

    def stat(self) -> remote_stat.Stat:
        """Returns size and state, as of the listing if it was listed.

        Raises:
          FileNotFoundError: there is no such object.
        """
        return self._stat or remote_stat.of(self._ask("info"))

    def modified(self) -> float | None:
        """Returns when the store has got the object, in seconds since 1970.

        It is by the clock of the store; None if there is no object, or no time of it.
        """
        return remote_stat.modified(self.info() or {})

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
        block = store_client.BLOCK if buffering else _SMALL_BLOCK
        stream = RemoteStream(self._url, self._ask("open", "rb", block_size=block))
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
            RemotePath(
                f"{self._url}/{name[len(base) :].lstrip('/')}", remote_stat.of(entry)
            )
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
            if store_client.puts_whole(fs):
                fs.pipe_file(key, data)
            else:
                store_client.write_aside(fs, key, io.BytesIO(data))

        self._written(ask)

    def create(self, data: bytes) -> bool:
        """Makes an object unless there is one; returns whether it was made.

        It is one operation in stores that offer that (S3's If-None-Match, GCS'
        ifGenerationMatch).
        """
        try:
            self._written(lambda: store_client.create(*self.opened(), data))
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
            if store_client.puts_whole(fs):
                fs.put_file(str(file), key)
                return
            with file.open("rb") as stream:
                store_client.write_aside(fs, key, stream)

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


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
