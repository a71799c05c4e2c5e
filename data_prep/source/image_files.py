"""Finds the images of a source folder and its subfolders."""

import os
import pathlib

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.source import raster
from data_prep.source.labels import ID
from data_prep.source.quarantine import Quarantine

DICOM = (".dcm",)


def find(folder: pathlib.Path, quarantine: Quarantine) -> dict[str, pathlib.Path]:
    """Returns {image id: path} of every image below `folder`, sorted by id.

    Images are the `*.dcm` files, or PNG and JPEG files where there is no `*.dcm`. The
    id is the file's stem. Symbolic links, folders and pipes are refused. If several
    files have one stem, the first is used where they are equal, none otherwise.

    Raises:
      CommandError: no such folder, or no image in it.
    """
    for suffixes in (DICOM, raster.SUFFIXES):
        paths = _by_stem(folder, suffixes)
        if paths:
            return _checked(paths, quarantine)
    raise CommandError(
        ExitCode.FLAGS,
        f"no *.dcm, *.png or *.jpg file below {folder}",
        fix="give the folder that holds the images",
    )


def find_masks(folder: pathlib.Path, quarantine: Quarantine) -> dict[str, pathlib.Path]:
    """Returns {image id: path} of every `*.png` below `folder`, as `find` does."""
    return _checked(_by_stem(folder, (".png",)), quarantine)


def _by_stem(folder: pathlib.Path, suffixes) -> dict[str, list[pathlib.Path]]:
    if not folder.is_dir():
        raise CommandError(
            ExitCode.FLAGS, f"no folder at {folder}", fix="check the path in the flag"
        )
    paths: dict[str, list[pathlib.Path]] = {}
    for parent, folders, names in os.walk(folder):
        # A folder named like an image is reported, too.
        for name in [*names, *folders]:
            path = pathlib.Path(parent, name)
            if path.suffix.lower() in suffixes:
                paths.setdefault(path.stem, []).append(path)
    return paths


def _checked(
    paths_of: dict[str, list[pathlib.Path]], quarantine: Quarantine
) -> dict[str, pathlib.Path]:
    accepted = {}
    for image_id, paths in sorted(paths_of.items()):
        try:
            accepted[image_id] = _check(image_id, sorted(paths))
        except InputError as e:
            for path in paths:
                quarantine.add(path, e)
    return accepted


def _check(image_id: str, paths: list[pathlib.Path]) -> pathlib.Path:
    if not ID.fullmatch(image_id):
        raise InputError(
            "SRC_BAD_ID",
            "the name is not an image id (letters, digits, '.', '_', '-'; 64 at most)",
            fix="rename the file",
        )
    for path in paths:
        # Opening a pipe would block.
        if path.is_symlink() or not path.is_file():
            raise InputError(
                "SRC_NOT_REGULAR", "not a regular file", fix="copy the file"
            )
        if not os.access(path, os.R_OK):
            raise InputError("SRC_UNREADABLE", "no permission to read", fix="use chmod")
    if len(paths) > 1 and len({durable.sha256(path) for path in paths}) > 1:
        raise InputError(
            "DUP_ID_CONFLICT",
            f"{len(paths)} different files have this name",
            fix="keep one of them",
        )
    return paths[0]
