"""Finds the images that the cells of a csv mean, whatever their ids are.

Published csvs name a film by its stem, by its file name, or by a path from a folder
above or below the source. All of them are compared with the file's own name.
"""

import collections
import logging
import pathlib
import unicodedata
from collections.abc import Mapping
from typing import TypeVar

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.source.image_files import without_suffix

Value = TypeVar("Value")
# The folders and the stem of a name.
Key = tuple[str, ...]
FIX = "give each image one name, with its folders, and use --id_from=path"


class Resolver:
    """Maps the cells of one csv, or the files of one folder, to images.

    A cell means an image if it is its id or its whole name relative to the source. If
    no image is named so, it means the image of which one name ends with the other,
    folder by folder: "view1.jpg" and "set/train/patient1/view1.jpg" both mean
    "patient1/view1.jpg". Suffixes of images do not count. Where ids are stems the
    folders do not count either, as no two images have one stem.

    Attributes:
      ambiguous: the cells that fit several images.
    """

    def __init__(self, names: Mapping[str, str], *, by_stem: bool):
        """Takes {image id: name relative to the source, with '/' between folders}."""
        self.ambiguous: set[str] = set()
        self._by_stem = by_stem
        self._keys = {image_id: key(name) for image_id, name in names.items()}
        self._id_of_name = {name: image_id for image_id, name in names.items()}
        if by_stem:
            self._id_of_name |= {n.rsplit("/", 1)[-1]: i for i, n in names.items()}
        self._ids_of: dict[Key, list[str]] = collections.defaultdict(list)
        self._ids_of_stem: dict[str, list[str]] = collections.defaultdict(list)
        for image_id, parts in self._keys.items():
            self._ids_of[parts].append(image_id)
            self._ids_of_stem[parts[-1]].append(image_id)
        self._cells_of: dict[str, set[str]] = collections.defaultdict(set)
        self._unclear: dict[str, str] = {}

    def __call__(self, cell: str) -> str:
        """Returns the id of the image that a cell means, or the cell if there is none.

        It is also the cell if it fits several images.
        """
        found = self._find(cell)
        if len(found) == 1:
            self._cells_of[found[0]].add(cell)
            return found[0]
        if found:
            self.ambiguous.add(cell)
            reason = f"one name fits this image and {len(found) - 1} more"
            self._unclear |= dict.fromkeys(found, reason)
        return cell

    def unclear(self) -> dict[str, str]:
        """Returns {image id: why it is not clear what is said of this image}.

        It holds the images of ambiguous cells, and those that several cells mean.
        """
        several = {
            image_id: f"{len(cells)} different names fit this image"
            for image_id, cells in self._cells_of.items()
            if len(cells) > 1
        }
        return several | self._unclear

    def values_of(
        self, values: Mapping[str, Value], path: pathlib.Path
    ) -> dict[str, Value]:
        """Returns {image id: value} for the {cell: value} of a csv.

        Cells that mean no image stay as they are.

        Raises:
          CommandError: it is not clear which image a cell means.
        """
        resolved = {self(cell): value for cell, value in values.items()}
        num_unknown = len(resolved.keys() - self._keys.keys())
        if num_unknown:
            logging.info(
                "%d of %d names in %s are of no image here",
                num_unknown,
                len(values),
                path.name,
            )
        for image_id, reason in sorted(self.unclear().items()):
            raise CommandError(
                ExitCode.FLAGS,
                f"{path} is not clear about image {image_id}: {reason}",
                fix=FIX,
            )
        return resolved

    def _find(self, cell: str) -> list[str]:
        # A file may be named as another one's id: a.dcm beside a.dcm.dcm.
        exact = {cell} & self._keys.keys()
        if cell in self._id_of_name:
            exact.add(self._id_of_name[cell])
        if exact:
            return sorted(exact)
        parts = key(cell)
        whole = self._ids_of.get(parts)
        if whole:
            return whole
        same_stem = self._ids_of_stem.get(parts[-1], [])
        if self._by_stem:
            return same_stem
        return [i for i in same_stem if _one_ends_with_other(self._keys[i], parts)]


def key(name: str) -> Key:
    """Returns the folders and the stem of a name, of any system."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")] or [name]
    # Twice for names like "film.dcm.png", which exports to PNG make.
    parts[-1] = without_suffix(without_suffix(parts[-1]))
    return tuple(parts)


def _one_ends_with_other(one: Key, other: Key) -> bool:
    length = min(len(one), len(other))
    return one[-length:] == other[-length:]
