"""What local and remote files have in common: a path of either kind from a text.

Local files stay pathlib.Path, and nothing that knows a store is imported for them.
"""

import contextlib
import glob
import pathlib
import re
import shutil
from collections.abc import Iterator

from data_prep.core import cache_folder
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.remote_path import RemotePath

_MARK = "://"
# What signed addresses have, such as ?X-Amz-Signature= and ?sig=.
_SIGNED = re.compile(
    r"[?&;#][^/]*(sig|token|credential|secret|passw)[^/=]*=", re.IGNORECASE
)


def is_url(text: str) -> bool:
    """Returns whether a text names a remote file or folder."""
    return _MARK in text


def parse(text: str) -> RemotePath | pathlib.Path:
    """Returns the path of a text; without ://, and with file://, it is a local one.

    Raises:
      CommandError: it holds a password or a signature, or chains protocols.
    """
    if not is_url(text):
        return pathlib.Path(text)
    protocol, _, rest = text.partition(_MARK)
    if protocol in ("file", "local"):
        return pathlib.Path(rest)
    # Neither error shows the rest, which may hold a secret.
    shown = protocol if re.fullmatch(r"[\w.+:-]*", protocol) else "..."
    user, at, _ = rest.partition("/")[0].rpartition("@")
    signed = protocol.endswith(("http", "https")) and "?" in rest
    if signed or _SIGNED.search(text) or (at and ":" in user):
        raise CommandError(
            ExitCode.FLAGS,
            f"a path of {shown}:// holds a password or a signature, which others on "
            "this machine can read",
            fix="give credentials by the environment or files of the store's programs",
        )
    if not protocol or shown != protocol or "::" in protocol or _MARK in rest:
        raise CommandError(
            ExitCode.FLAGS,
            f"a path that begins with {shown}:// is not one like s3://bucket/folder or "
            "gs://bucket/folder",
            fix="correct the path",
        )
    return RemotePath(text)


def is_remote(path: object) -> bool:
    """Returns whether a path is of a store."""
    return isinstance(path, RemotePath)


@contextlib.contextmanager
def written_whole(path: RemotePath) -> Iterator[pathlib.Path]:
    """Yields a local path to write to, which is uploaded on success.

    The object appears when its upload is complete, so it is whole or not there.
    """
    with cache_folder.outgoing() as folder:
        # The suffix stays last because Keras chooses the weight format by it.
        file = folder / path.name
        yield file
        path.upload(file)


def remove_tree(path: pathlib.Path | RemotePath) -> None:
    """Deletes a folder with all that is in it, if there is one."""
    if isinstance(path, RemotePath):
        path.remove_tree()
    else:
        shutil.rmtree(path, ignore_errors=True)


def matching(
    pattern: pathlib.Path | RemotePath,
) -> list[pathlib.Path] | list[RemotePath]:
    """Returns the paths that match a pattern with *, ? or [, sorted."""
    if not isinstance(pattern, RemotePath):
        return [pathlib.Path(path) for path in sorted(glob.glob(str(pattern)))]
    parts = pattern.parts
    first = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    folder = RemotePath("/".join(parts[: max(1, first)]))
    return sorted(folder.glob("/".join(parts[max(1, first) :])))


def is_within(
    path: pathlib.Path | RemotePath, folder: pathlib.Path | RemotePath
) -> bool:
    """Returns whether a path is a folder or lies below it."""
    if isinstance(path, RemotePath) or isinstance(folder, RemotePath):
        return isinstance(path, RemotePath) and path.is_relative_to(folder)
    return path.resolve().is_relative_to(folder.resolve())
