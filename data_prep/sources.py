"""Finds the images of a source folder, however deep it is nested."""

import os
import pathlib

from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.failures import Rejected
from data_prep.labels import ID
from data_prep.quarantine import Quarantine


def find_dicoms(
    folder: pathlib.Path, quarantine: Quarantine
) -> dict[str, pathlib.Path]:
    """Returns {image id: path} of every `*.dcm` below `folder`, sorted by id.

    The id is the file's stem. Symbolic links, folders and pipes are refused, and
    of two files with one stem neither is taken.

    Raises:
      Failure: no such folder, or no DICOM file in it.
    """
    if not folder.is_dir():
        raise Failure(
            ExitCode.FLAGS, f"no folder at {folder}", mend="check the path in the flag"
        )
    found: dict[str, list[pathlib.Path]] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = pathlib.Path(parent, name)
            if path.suffix.lower() == ".dcm":
                found.setdefault(path.stem, []).append(path)
    if not found:
        raise Failure(
            ExitCode.FLAGS,
            f"no *.dcm file below {folder}",
            mend="give the folder that holds the DICOM files",
        )
    accepted = {}
    for image_id, paths in sorted(found.items()):
        try:
            accepted[image_id] = _check(image_id, paths)
        except Rejected as fault:
            for path in paths:
                quarantine.add(path, fault)
    return accepted


def _check(image_id: str, paths: list[pathlib.Path]) -> pathlib.Path:
    if len(paths) > 1:
        raise Rejected(
            "DUP_ID_CONFLICT",
            f"{len(paths)} files have this name",
            mend="keep one of them",
        )
    if not ID.fullmatch(image_id):
        raise Rejected(
            "SRC_BAD_ID",
            "the name is not an image id (letters, digits, '.', '_', '-'; 64 at most)",
            mend="rename the file",
        )
    if paths[0].is_symlink() or not paths[0].is_file():
        raise Rejected("SRC_NOT_REGULAR", "not a regular file", mend="copy the file")
    if not os.access(paths[0], os.R_OK):
        raise Rejected("SRC_UNREADABLE", "no permission to read", mend="chmod the file")
    return paths[0]
