"""`artefact.json`: what an artefact is made of, and the sha256 of each of its files."""

import pathlib
from typing import Any

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

FILE_NAME = "artefact.json"
_FIX = "get the artefact again from its source, or export it again"


def write(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Writes `artefact.json`; call it last: for readers it is the commit."""
    files = {name: durable.sha256(folder / name) for name in _names(folder)}
    durable.write_json(folder / FILE_NAME, {**facts, "files": files})


def check(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the facts of an artefact whose files are those that were exported.

    Raises:
      CommandError: the folder holds no artefact; or a file was changed, is missing, or
        came to it in a folder that programs read.
    """
    facts = durable.read_json(
        folder / FILE_NAME, fix="give a folder of inference.export"
    )
    files = facts.pop("files")
    for name, sha256 in files.items():
        durable.check_file(folder / name, expected_sha256=sha256, fix=_FIX)
    for name in _names(folder):
        # Files that a user lays beside the model change nothing of it.
        if "/" in name and name not in files:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{folder / name} is no part of the artefact",
                fix=_FIX,
            )
    return facts


def _names(folder: pathlib.Path) -> list[str]:
    paths = (p for p in folder.rglob("*") if p.is_file())
    return sorted(
        p.relative_to(folder).as_posix() for p in paths if p.name != FILE_NAME
    )
