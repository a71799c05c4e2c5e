"""What the report shows of a film beside its mask, from the table of images."""

import pathlib
from typing import Any

from inference.prediction import images_csv

# Fields of an images_csv.ImageRow that a film_index.Film has, too. The seconds that a
# film took are left out: the page's bytes do not depend on the machine.
_FIELDS = ("probability", "area_mm2", "side", "regions", "guard")


def read(output: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns {image id: {field of a film_index.Film: value}}.

    A field that is not known is left out; predictions of earlier versions have no table
    and so none of the fields.

    Raises:
      CommandError: the table is damaged.
    """
    path = output / images_csv.FILE_NAME
    if not path.exists():
        return {}
    return {name: _shown(row) for name, row in images_csv.read(path).items()}


def _shown(row: images_csv.ImageRow) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in _FIELDS}
    fields["warnings"] = ", ".join(row.warnings)
    return {name: value for name, value in fields.items() if value not in (None, "")}
