"""Gives the images of a source folder their ids, and says which ids are no names."""

import collections
import logging
import pathlib

from data_prep.build.header_unit import HeaderReader
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.source import image_files
from data_prep.source import image_ids
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile


def find(
    config: ConvertConfig,
    folder: pathlib.Path,
    reader: HeaderReader,
    quarantine: Quarantine,
) -> dict[str, SourceFile]:
    """Returns {image id: file} of the images of a folder, sorted by id.

    Args:
      config: the conversion.
      folder: the source.
      reader: can apply `image_ids.read_sop_instance_uid`.
      quarantine: takes the files that cannot be used.

    Raises:
      CommandError: no image of the folder can be used.
    """
    id_of = image_ids.id_of(config.id_from)
    files = image_files.find(folder, quarantine, id_of=id_of)
    if config.id_from == "sop_instance_uid":
        files = _by_header(files, folder, reader, quarantine)
    if not files:
        raise _none_usable(folder, quarantine)
    return files


def names(files: dict[str, SourceFile], folder: pathlib.Path) -> dict[str, str]:
    """Returns {image id: name relative to the folder, with '/'}."""
    return {image_id: file.relative_to(folder) for image_id, file in files.items()}


def mapped(config: ConvertConfig, name_of: dict[str, str]) -> list[tuple[str, str]]:
    """Returns (image id, name) for `ids.csv`, and logs how many ids are no names.

    There is no row if all ids are the stems of their files.
    """
    changed = [i for i, name in sorted(name_of.items()) if i != _stem(name)]
    if changed:
        logging.info(
            "%d of %d images have an id that is not the stem of their file, the first "
            "is %s; ids.csv names the file of each",
            len(changed),
            len(name_of),
            changed[0],
        )
    if changed or config.id_from != "stem":
        return sorted(name_of.items())
    return []


def _none_usable(folder: pathlib.Path, quarantine: Quarantine) -> CommandError:
    rows = quarantine.rows()
    (code, fix), count = collections.Counter((r[1], r[3]) for r in rows).most_common(1)[
        0
    ]
    return CommandError(
        ExitCode.TOO_MANY_BAD,
        f"no image of {folder.name} can be used, {count} of {len(rows)} for {code}",
        fix=fix,
    )


def _stem(name: str) -> str:
    return image_files.without_suffix(name.rsplit("/", 1)[-1])


def _by_header(
    files: dict[str, SourceFile],
    folder: pathlib.Path,
    reader: HeaderReader,
    quarantine: Quarantine,
) -> dict[str, SourceFile]:
    files_of: dict[str, list[SourceFile]] = {}
    results = reader.imap_ordered(image_ids.read_sop_instance_uid, files.values())
    for file, uid in tracked(results, "ids", len(files), unit="files"):
        if isinstance(uid, InputError):
            quarantine.add(file.shown, uid)
        else:
            files_of.setdefault(uid, []).append(file)
    return image_files.one_of_each(files_of, folder, quarantine)
