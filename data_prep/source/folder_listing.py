"""Lists the files below a folder, by links too, and what cannot be read there."""

import dataclasses
import errno
import heapq
import os
import pathlib
import stat

from data_prep.core import remote
from data_prep.core.errors import InputError

# The machine's lack is no fault of a file.
_LACKS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)


@dataclasses.dataclass(kw_only=True)
class Listing:
    """What is below a folder; folders themselves are not listed.

    Attributes:
      files: the regular files, sorted, as the other paths are.
      refused: what is no regular file or cannot be read, with the reason.
      outside: links out of the folder, which are followed.
      repeated: folders that were reached before or that hold the listed one; links
        lead to them, and they are not entered again.
    """

    files: list[pathlib.Path] = dataclasses.field(default_factory=list)
    refused: list[tuple[pathlib.Path, InputError]] = dataclasses.field(
        default_factory=list
    )
    outside: list[pathlib.Path] = dataclasses.field(default_factory=list)
    repeated: list[pathlib.Path] = dataclasses.field(default_factory=list)


def list_files(folder: pathlib.Path) -> Listing:
    """Lists a folder and all folders below it, each of them once.

    Folders that are reached without links come first, so that their files keep those
    paths. After that links are followed, because DVC, git-annex, Hugging Face and
    Kaggle make folders of links.
    """
    if remote.is_remote(folder):
        # A store has neither links nor anything but objects.
        return Listing(files=folder.files())
    listing = Listing()
    root = pathlib.Path(os.path.realpath(folder))
    above = {_identity(os.stat(parent)) for parent in root.parents}
    reached: set[tuple[int, int]] = set()
    linked = [folder]
    while linked:
        # In an order that the file system does not decide.
        folders = [heapq.heappop(linked)]
        while folders:
            path = folders.pop()
            try:
                identity = _identity(os.stat(path))
                if identity in above or identity in reached:
                    listing.repeated.append(path)
                    continue
                reached.add(identity)
                with os.scandir(path) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as e:
                listing.refused.append((path, unreadable(e)))
                continue
            for entry in entries:
                _sort_in(entry, root, listing, folders, linked)
    for paths in (listing.files, listing.outside, listing.repeated):
        paths.sort()
    return listing


def _sort_in(entry: os.DirEntry, root, listing: Listing, folders, linked) -> None:
    path = pathlib.Path(entry.path)
    try:
        if entry.is_symlink():
            mode = os.stat(path).st_mode
            if not pathlib.Path(os.path.realpath(path)).is_relative_to(root):
                listing.outside.append(path)
        else:
            if entry.is_file(follow_symlinks=False):
                # Without another look at the disk: this is nearly every entry.
                listing.files.append(path)
                return
            mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as e:
        listing.refused.append((path, unreadable(e)))
        return
    if stat.S_ISDIR(mode) and entry.is_symlink():
        heapq.heappush(linked, path)
    elif stat.S_ISDIR(mode):
        folders.append(path)
    elif stat.S_ISREG(mode):
        listing.files.append(path)
    else:
        # Opening a pipe would block.
        error = InputError("SRC_NOT_REGULAR", "not a regular file", fix="copy the file")
        listing.refused.append((path, error))


def unreadable(error: OSError) -> InputError:
    """Returns why a file or folder is refused that the system does not read.

    Raises:
      OSError: the error itself, where the machine lacks memory or file handles.
    """
    if error.errno in _LACKS:
        raise error
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return InputError(
            "SRC_MISSING",
            "a link to nothing, or deleted since",
            fix="get the file that the link names (git annex get, dvc pull), or remove "
            "the link",
        )
    if error.errno == errno.ELOOP:
        return InputError("SRC_LINK_LOOP", "a link to itself", fix="remove the link")
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError("SRC_UNREADABLE", "no permission to read", fix="use chmod")
    return InputError(
        "SRC_UNREADABLE",
        f"cannot be read ({errno.errorcode.get(error.errno, 'error')})",
        fix="see that its disk or share is sound",
    )


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
