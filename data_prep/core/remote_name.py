"""Names of objects and folders in a store, with the interface of pathlib.PurePath."""

import functools
import pathlib
from typing import Self


@functools.total_ordering
class RemoteName:
    """The name of an object, or of what a store takes for a folder.

    Args:
      url: protocol://bucket/key.
    """

    __slots__ = ("_url",)

    def __init__(self, url: str):
        protocol, _, rest = url.partition("://")
        self._url = f"{protocol}://{rest.rstrip('/')}"

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteName) and self._url == other._url

    def __lt__(self, other: Self) -> bool:
        # By their parts, as local paths are sorted.
        return self.parts < other.parts

    def __hash__(self) -> int:
        return hash(self._url)

    def __truediv__(self, other: str | pathlib.PurePath) -> Self:
        return type(self)(f"{self._url}/{str(other).removeprefix('/')}")

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
    def parent(self) -> Self:
        """The folder above; that of a bucket is the bucket."""
        above = self.parts[:-1]
        return type(self)("/".join(above)) if above else self

    @property
    def parents(self) -> tuple[Self, ...]:
        parts = self.parts
        return tuple(
            type(self)("/".join(parts[:n])) for n in range(len(parts) - 1, 0, -1)
        )

    def with_name(self, name: str) -> Self:
        return self.parent / name

    def relative_to(self, folder: Self) -> pathlib.PurePosixPath:
        """Returns the parts below a folder; raises a ValueError if it is not below."""
        if not self.is_relative_to(folder):
            raise ValueError(f"{self} is not below {folder}")
        return pathlib.PurePosixPath(*self.parts[len(folder.parts) :])

    def is_relative_to(self, folder: object) -> bool:
        if not isinstance(folder, RemoteName):
            return False
        return self.parts[: len(folder.parts)] == folder.parts

    def resolve(self) -> Self:
        """Returns the path itself: a store has neither links nor a current folder."""
        return self

    absolute = resolve
