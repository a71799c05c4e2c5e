"""Finds the images of a source folder and gives them ids."""

import contextlib
import logging
import pathlib
from collections.abc import Callable

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.labels.rle_csv import ID
from data_prep.source import file_kinds
from data_prep.source import source_walk
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile
from data_prep.source.source_walk import walk

# Returns the id of a file of a source folder; an InputError refuses the file.
IdOf = Callable[[SourceFile, pathlib.Path], str]


def stem_of(file: SourceFile, folder: pathlib.Path) -> str:
    """Returns the file's name without `.gz` and then without one image suffix.

    Case does not matter, and other endings are kept, since those of UIDs are numbers:
    `A.DCM` and `A.dcm.gz` are `A`, `B.dcm.dcm` is `B.dcm`, `1.2.840` is `1.2.840`.
    """
    del folder  # The stem does not depend on it.
    return without_suffix(file.shown.name)


def without_suffix(name: str) -> str:
    """Returns a file's name without `.gz` and then without one image suffix."""
    for suffixes in ((".gz",), file_kinds.IMAGE_SUFFIXES):
        stem, dot, suffix = name.rpartition(".")
        if stem and dot + suffix.lower() in suffixes:
            name = stem
    return name


def find(
    folder: pathlib.Path,
    quarantine: Quarantine,
    *,
    id_of: IdOf = stem_of,
    quiet: bool = False,
) -> dict[str, SourceFile]:
    """Returns {image id: file} of every image below `folder`, sorted by id.

    If several files have one id, the first is used where they are equal, none
    otherwise.

    Args:
      folder: the source.
      quarantine: takes what cannot be used.
      id_of: gives each file its id.
      quiet: whether the log is not told what was left out.

    Raises:
      CommandError: no such folder, or no image in it.
    """
    num_refused = len(quarantine)
    files = walk(folder, quarantine, quiet=quiet)
    if not files and len(quarantine) == num_refused:
        raise CommandError(
            ExitCode.FLAGS,
            f"no DICOM, PNG or JPEG file below {folder}",
            fix="give the folder that holds the images",
        )
    return _by_id(files, folder, quarantine, id_of, quiet)


def find_masks(
    folder: pathlib.Path,
    quarantine: Quarantine,
    *,
    id_of: IdOf = stem_of,
    quiet: bool = False,
) -> dict[str, SourceFile]:
    """Returns {image id: file} of every PNG and JPEG below `folder`, as `find` does.

    DICOM files are left out and counted: films may lie beside their masks.
    """
    walked = source_walk.survey(folder, quarantine)
    masks = []
    for file in walked.files:
        if file.kind == "dicom":
            walked.leave_out("DICOM", file.shown)
        else:
            masks.append(file)
    if not quiet:
        walked.log(folder)
    return _by_id(masks, folder, quarantine, id_of, quiet)


def _by_id(
    files: list[SourceFile],
    folder: pathlib.Path,
    quarantine: Quarantine,
    id_of: IdOf,
    quiet: bool,
) -> dict[str, SourceFile]:
    files_of: dict[str, list[SourceFile]] = {}
    for file in files:
        try:
            files_of.setdefault(_checked(id_of(file, folder)), []).append(file)
        except InputError as e:
            quarantine.add(file.shown, e)
    return one_of_each(files_of, folder, quarantine, quiet=quiet)


def one_of_each(
    files_of: dict[str, list[SourceFile]],
    folder: pathlib.Path,
    quarantine: Quarantine,
    *,
    quiet: bool = False,
) -> dict[str, SourceFile]:
    """Returns {image id: its first file}, sorted; files that differ are refused."""
    accepted = {}
    equal = []
    for image_id, same in sorted(files_of.items()):
        same = same if len(same) == 1 else _different(same, quarantine, equal)
        if len(same) == 1:
            accepted[image_id] = same[0]
        for file in same if len(same) > 1 else ():
            quarantine.add(
                file.shown,
                InputError(
                    "DUP_ID_CONFLICT",
                    f"{len(same)} different files have this id",
                    fix="use --id_from=path, or keep one of them",
                ),
            )
    if equal and not quiet:
        logging.info(
            "%s: %d files equal another one of the same id and count once (first %s)",
            folder.name,
            len(equal),
            source_walk.name_in(folder, equal[0].shown),
        )
    return accepted


def _checked(image_id: str) -> str:
    if not ID.fullmatch(image_id):
        raise InputError(
            "SRC_BAD_ID",
            "the name is not an image id (letters, digits, '.', '_', '-'; 64 at most)",
            fix="rename the file",
        )
    return image_id


def _different(
    files: list[SourceFile], quarantine: Quarantine, equal: list[SourceFile]
) -> list[SourceFile]:
    """Returns those of several files that are not equal; `equal` takes the others."""
    sizes = {_size(file) for file in files}
    if None not in sizes and len(sizes) == len(files):
        # Exports call a file of every folder IM0001; hashing them would take hours.
        return files
    first_of: dict[str, SourceFile] = {}
    for file in files:
        try:
            digest = file.sha256()
        except InputError as e:
            quarantine.add(file.shown, e)
            continue
        if first_of.setdefault(digest, file) is not file:
            equal.append(file)
    return list(first_of.values())


def _size(file: SourceFile) -> int | None:
    """Returns the number of bytes; None where only unpacking would tell."""
    with contextlib.suppress(OSError):
        return None if file.member or file.gzipped else file.path.stat().st_size
    return None
