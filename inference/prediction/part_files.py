"""The finished parts of one request, which no other request can take for its own.

parts/<start of the request's sha256>/
  open.json         there while parts are taken; deleted before they are joined
  part-00000.json   {"rows", "map": sha256 of its file of maps, if maps are kept}
  precision.json    what the precision changes, if that is measured
  array/            see array_parts.py

A machine may see what others have written a minute later, and an attempt that was given
up may live on. So nothing here relies on a folder being empty: what belongs to another
request lies in another folder. Who writes looks for open.json after it has begun its
file and before it renames it; deleting open.json, then unfinished files, so ends every
attempt that is not wanted any more. It is looked for by opening it, since network file
systems answer that from the server.
"""

import hashlib
import json
import logging
import pathlib
import re
from collections.abc import Collection
from typing import Any

from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

PARTS = "parts"
NOTES = "notes"
_OPEN = "open.json"
_PRECISION = "precision.json"
_NAME = re.compile(r"part-(\d{5,})\.json")
# More parts are looked for by listing the folder once.
_FEW = 64


class PartFiles:
    """The parts of a request.

    Args:
      output: the prediction's folder.
      request: provenance of the prediction.

    Attributes:
      folder: where they are.
    """

    def __init__(self, output: pathlib.Path, request: dict[str, Any]):
        text = json.dumps(request, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._all = output / PARTS
        self.folder = self._all / digest[:16]

    def open(self) -> None:
        """Takes parts from now on, and deletes those of other requests."""
        self._sweep()
        durable.write_json(self.folder / _OPEN, {})

    def close(self) -> None:
        """Takes no part any more, also none that an attempt has begun to write."""
        (self.folder / _OPEN).unlink(missing_ok=True)
        durable.drop_incomplete(self.folder)

    def check_open(self) -> None:
        """Raises a CommandError if no part is taken any more."""
        if self._is_open():
            return
        # This machine may remember the time before the file was there; listing the
        # folder makes NFS ask again.
        _listed(self.folder)
        if not self._is_open():
            raise CommandError(
                ExitCode.CONFLICT,
                f"{self._all.parent} takes no parts of this prediction any more: it "
                "is finished, or was given up for another one",
                fix="if it is not finished, run the command again, without --part",
            )

    def adopt_former(self) -> None:
        """Takes over the parts of a release that had no folder for each request.

        Call it only if the folder's request is this one.
        """
        if remote.is_remote(self._all):
            # No such release wrote to a store.
            return
        former = [*self._all.glob("part-*.json"), *self._all.glob(_PRECISION)]
        if not former:
            return
        self.folder.mkdir(exist_ok=True)
        for path in former:
            path.replace(self.folder / path.name)
        logging.info("takes over %d files of an earlier release's parts", len(former))

    def path(self, index: int) -> pathlib.Path:
        """Returns the path of a part."""
        return self.folder / f"part-{index:05d}.json"

    def finished(self, indices: Collection[int]) -> set[int]:
        """Returns which of these parts are there."""
        if len(indices) <= _FEW:
            return {index for index in indices if self.path(index).exists()}
        found = (_NAME.fullmatch(path.name) for path in _listed(self.folder))
        return {int(name[1]) for name in found if name}.intersection(indices)

    def write(self, index: int, value: dict[str, Any]) -> None:
        """Writes a part.

        Raises:
          CommandError: no part is taken any more.
        """
        durable.write_json(
            self.path(index), value, make_folder=False, before_rename=self.check_open
        )

    def read(self, index: int) -> dict[str, Any]:
        """Reads a part; raises a CommandError if it is missing or damaged."""
        fix = f"delete {self._all.parent} and predict again"
        return durable.read_json(self.path(index), fix=fix)

    def write_change(self, change: dict[str, Any]) -> None:
        """Writes what the precision changes; call it before the first part."""
        durable.write_json(
            self.folder / _PRECISION,
            change,
            make_folder=False,
            before_rename=self.check_open,
        )

    def change(self) -> dict[str, Any] | None:
        """Returns what `write_change` wrote, or None."""
        path = self.folder / _PRECISION
        return durable.read_json(path, fix=f"delete {path}") if path.exists() else None

    def drop(self) -> None:
        """Deletes the parts of all requests."""
        remote.remove_tree(self._all)

    def _is_open(self) -> bool:
        try:
            (self.folder / _OPEN).read_bytes()
        except OSError:
            return False
        return True

    def _sweep(self) -> None:
        """Deletes what is not of this request; warnings are of no request."""
        others = [
            path
            for path in _listed(self._all)
            if path.name not in (self.folder.name, NOTES)
        ]
        for path in others:
            if path.is_dir():
                # First, so that no attempt adds to the folder meanwhile.
                (path / _OPEN).unlink(missing_ok=True)
                remote.remove_tree(path)
            else:
                path.unlink(missing_ok=True)
        if any(not path.name.startswith(durable.INCOMPLETE) for path in others):
            logging.warning(
                "%s had parts of another prediction, which are deleted", self._all
            )


def _listed(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
