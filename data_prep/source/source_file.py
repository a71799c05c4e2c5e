"""One image of a source folder: where its bytes are, and what they are."""

import contextlib
import dataclasses
import errno
import hashlib
import io
import pathlib
from collections.abc import Iterator
from typing import BinaryIO
from typing import Literal

from data_prep.core.errors import InputError
from data_prep.source import archives
from data_prep.source import folder_listing

# What a file system says of a file that was there when the folder was listed.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE)

Kind = Literal["dicom", "png", "jpeg"]


@dataclasses.dataclass(frozen=True, kw_only=True, order=True, slots=True)
class SourceFile:
    """An image on disk, on its own or in a zip.

    Attributes:
      path: the file, or the zip that holds it.
      member: its full name in the zip; '' for a file of its own.
      gzipped: whether those bytes are the image's after gzip.
      kind: what its content is, whatever its name says.
    """

    path: pathlib.Path
    member: str = ""
    gzipped: bool = False
    kind: Kind

    @property
    def shown(self) -> pathlib.Path:
        """The path that names it to a user: a zip counts as a folder."""
        if not self.member:
            return self.path
        return self.path / archives.slashed(self.member)

    def relative_to(self, folder: pathlib.Path) -> str:
        """Returns `shown` below the source folder, with '/' between the parts."""
        return self.shown.relative_to(folder).as_posix()

    def read_bytes(self) -> bytes:
        """Returns the bytes of the image itself.

        Raises:
          InputError: the file is gone, or it or what holds it is unreadable, damaged or
            too large.
          OSError: the disk or the network has failed; it names the file.
        """
        with named(self.path):
            if self.member or self.gzipped:
                return archives.read(self.path, self.member, gzipped=self.gzipped)
            return self.path.read_bytes()

    def open(self) -> BinaryIO:
        """Returns a stream of the same bytes; raises as `read_bytes`."""
        if self.member or self.gzipped:
            return io.BytesIO(self.read_bytes())
        with named(self.path):
            return self.path.open("rb")

    def sha256(self) -> str:
        """Returns the hex sha256 of the same bytes; raises as `read_bytes`."""
        with self.open() as stream, named(self.path):
            return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def named(path: pathlib.Path) -> Iterator[None]:
    """Gives an OSError the name of the file that is read, which `read` leaves out.

    Raises:
      InputError: the file was removed or replaced since its folder was listed, or
        may not be read.
    """
    try:
        yield
    except OSError as e:
        if e.errno in _GONE:
            raise InputError(
                "SRC_GONE",
                "the file was there when the folder was listed, and is gone",
                fix="convert again when nothing else changes the source",
            ) from e
        if e.errno in (errno.EACCES, errno.EPERM):
            raise folder_listing.unreadable(e) from e
        if e.filename is None and e.errno is not None:
            e.filename = str(path)
        raise
