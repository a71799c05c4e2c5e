"""What a table of images, `images.csv`, says of films beside their masks."""

import csv
import math
import pathlib
from collections.abc import Callable
from typing import Any

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

TABLE = "images.csv"
_ID = "ImageId"


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _listed(text: str) -> str:
    return ", ".join(text.split(";"))


# {column: (field of a film_index.Film, what makes its value)}. The seconds that a film
# took are left out: the page's bytes do not depend on the machine.
_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "probability": ("probability", _number),
    "area_mm2": ("area_mm2", _number),
    "side": ("side", str),
    "regions": ("regions", int),
    "guard": ("guard", _number),
    "warnings": ("warnings", _listed),
}


def read(output: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns {image id: {field: value}}; nothing if there is no such table.

    An empty cell is a field that the film lacks.

    Raises:
      CommandError: a value is not one of its column, or the table has no ids.
    """
    path = output / TABLE
    if not path.exists():
        return {}
    facts, image_id = {}, None
    try:
        with path.open("r", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                image_id = row[_ID]
                facts[image_id] = {
                    field: make(row[column])
                    for column, (field, make) in _FIELDS.items()
                    if row.get(column)
                }
    # A text that is not UTF-8 is a ValueError, too.
    except (KeyError, ValueError, csv.Error) as e:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} is damaged at or after image {image_id}: {e}",
            fix="predict again into another --output",
        ) from e
    return facts
