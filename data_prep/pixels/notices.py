"""`notices.csv`: inputs that were converted although something about them is odd.

A reader takes a `Notices` and adds the code of each oddity that it has settled by a
stated rule. What cannot be settled is an InputError, and goes to `quarantine.csv`.
"""

import logging
import pathlib
from collections.abc import Iterable

from data_prep.core import csv_cells
from data_prep.core import durable

FILE_NAME = "notices.csv"
_COLUMNS = ("ImageId", "code")
# {code: what was odd, and what was done}. The codes are part of the dataset's format.
MEANINGS = {
    "BITS_DEFAULTED": "an element that describes the samples is missing; it has one "
    "possible value",
    "BITS_FROM_STREAM": "the header describes other bits than the compressed stream "
    "has; those of the stream count",
    "HIGH_BIT_IGNORED": "the high bit is not the last stored one, and no value is "
    "where it says",
    "OVERLAY_BITS_MASKED": "an overlay is drawn into bits above the stored ones; it "
    "was removed",
    "PADDING_IGNORED": "the value of pixels outside of the image is empty or odd; "
    "all pixels count",
    "POLARITY_BY_PHOTOMETRIC": "PresentationLUTShape is IDENTITY in a MONOCHROME1 "
    "image; low values are bright",
    "RESCALE_DEFAULTED": "the slope or the intercept is missing or empty; it is 1 or 0",
    "SYNTAX_BY_STREAM": "the compressed stream is of another kind than its transfer "
    "syntax says; it was decoded as what it is",
    "SYNTAX_GUESSED": "the file does not name its transfer syntax; its first element "
    "shows it",
    "TAG_IGNORED": "an optional element is empty or odd; it counts as absent",
    "WINDOW_IGNORED": "the window is empty, odd or shows no grey value; the whole "
    "range is shown",
    "FEW_BITS_USED": "the values fill less than a quarter of the range; the smallest "
    "power of two that holds them is shown",
    "EXIF_TURNED": "EXIF says that the stored picture lies on its side or is "
    "mirrored; it is turned",
    "EXIF_MASK_DIFFERS": "EXIF turns the image and its mask differently; each is "
    "turned by its own",
    "ALPHA_IGNORED": "some pixels are transparent; their grey value is shown as if "
    "they were not",
    "FIRST_PICTURE": "the file holds several pictures; the first is shown",
    "MASK_OUTLIER": "the mask covers a quarter of the film, keeps to its edge, or lies "
    "on black; look at it with `python -m data_prep.inspect`",
}

Row = tuple[str, str]


class Notices:
    """Collects the codes of one input, each once."""

    def __init__(self):
        self._codes: set[str] = set()

    def add(self, code: str) -> None:
        """Adds a key of MEANINGS.

        Raises:
          KeyError: it is none.
        """
        MEANINGS[code]
        self._codes.add(code)

    def codes(self) -> tuple[str, ...]:
        """Returns the codes, sorted."""
        return tuple(sorted(self._codes))


def write(folder: pathlib.Path, rows: Iterable[Row]) -> None:
    """Writes `notices.csv` from (image id, code), even without any rows."""
    durable.write_text(folder / FILE_NAME, csv_cells.table(_COLUMNS, sorted(rows)))


def read(folder: pathlib.Path) -> list[Row]:
    """Returns the rows of a folder's `notices.csv`, none if it was deleted."""
    if not (folder / FILE_NAME).exists():
        return []
    with (folder / FILE_NAME).open(encoding="utf-8", newline="") as file:
        return csv_cells.rows(file)


def log(rows: Iterable[Row]) -> None:
    """Logs one line for each code: how many images have it, and the first of them."""
    ids_of: dict[str, list[str]] = {}
    for image_id, code in sorted(rows):
        ids_of.setdefault(code, []).append(image_id)
    for code, ids in sorted(ids_of.items()):
        logging.warning(
            "%s: %d image(s), the first is %s: %s",
            code,
            len(ids),
            ids[0],
            MEANINGS.get(code, "unknown to this version"),
        )
