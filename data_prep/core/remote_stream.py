"""A stream that reads an object of a store."""

import io
from typing import Any

from data_prep.core import store_errors


class RemoteStream(io.BufferedIOBase):
    """A stream of fsspec whose failures are those of RemotePath.

    Args:
      url: of the object.
      stream: of fsspec.
    """

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

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()
