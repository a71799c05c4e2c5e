"""Member files where run folders are: unpacked once, and then read like one.

They are unpacked into the folder for copies, under the sha256 of the zip, since Keras
reads weights from a file. What a zip holds is in member_archive.py.
"""

import functools
import os
import pathlib
import shutil

from data_prep.core import cache_folder
from data_prep.core import durable
from data_prep.core import machine_lock
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.run import member_archive

SUFFIX = ".zip"
_FIX = "give the file that inference.export --format=member wrote"


def is_member_file(path: pathlib.Path) -> bool:
    """Returns whether a path is a member file's, and not a run folder's."""
    if remote.is_remote(path):
        return path.name.endswith(SUFFIX)
    return path.is_file() or (path.suffix == SUFFIX and not path.is_dir())


def unpacked(path: pathlib.Path) -> pathlib.Path:
    """Returns a folder of this machine with the files of a member file, all checked.

    Raises:
      CommandError: the file is missing, is no member file or a damaged one, or there is
        no room to unpack it.
    """
    if remote.is_remote(path):
        return _unpacked_remote(path)
    try:
        status = path.stat()
    except OSError as e:
        raise CommandError(
            ExitCode.FLAGS,
            f"no member file at {path} ({e.strerror})",
            fix=_FIX,
        ) from e
    return _unpacked(path, path, status.st_mtime_ns, status.st_size)


@functools.cache
def _unpacked_remote(path: remote.RemotePath) -> pathlib.Path:
    """Fetches a member file once in a process, since its sha256 is not known before."""
    cache_folder.require_room(path.stat().st_size if path.exists() else 0)
    with cache_folder.outgoing() as folder:
        fetched = folder / "member.zip"
        try:
            path.download(fetched)
        except FileNotFoundError as e:
            raise CommandError(
                ExitCode.FLAGS, f"no member file at {path}", fix=_FIX
            ) from e
        return _unpacked(fetched, path, 0, fetched.stat().st_size)


# Another file of the same name is another entry.
@functools.cache
def _unpacked(
    file: pathlib.Path, named: pathlib.Path, modified_ns: int, num_bytes: int
) -> pathlib.Path:
    del modified_ns
    parent = cache_folder.path() / "members"
    parent.mkdir(exist_ok=True, mode=0o700)
    digest = durable.sha256(file)
    folder = parent / digest
    with machine_lock.held(parent / f"{digest}.lock"):
        if not _is_sound(folder):
            shutil.rmtree(folder, ignore_errors=True)
            cache_folder.require_room(num_bytes)
            with cache_folder.outgoing() as at:
                aside = at / "member"
                aside.mkdir()
                member_archive.unpack(file, aside, named=named)
                os.rename(aside, folder)
    return folder


def _is_sound(folder: pathlib.Path) -> bool:
    """Returns whether a folder has what was unpacked there; it may be damaged since."""
    if not (folder / member_archive.MANIFEST).is_file():
        return False
    try:
        manifest = folder / member_archive.MANIFEST
        files = durable.read_json(manifest, fix=_FIX)["files"]
        for name, facts in files.items():
            durable.check_file(folder / name, expected_sha256=facts["sha256"], fix=_FIX)
    except CommandError:
        return False
    return True
