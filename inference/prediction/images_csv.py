"""`images.csv`: one row per image, for a reader and for a spreadsheet.

docs/results.md says what each column holds. A value that is not known is an empty cell.
No cell can be a formula: an id begins with a letter or a digit, and everything else is
a number that is not negative or a word of ours.

What a prediction is sealed with does not cover `seconds`, which no second run repeats,
and `warnings`, to which a later call with more `--outputs` may add.
"""

import contextlib
import csv
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv

FILE_NAME = "images.csv"
COLUMNS = (
    "ImageId",
    "probability",
    "area_px",
    "area_mm2",
    "side",
    "regions",
    "guard",
    "seconds",
    "spacing_mm",
    "spacing_from",
    "warnings",
)
_NOT_SEALED = {COLUMNS.index("seconds"), COLUMNS.index("warnings")}
_BETWEEN = ";"
_FIX = "delete the prediction and predict again"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImageRow:
    r"""What the table says of one image; None or "" where it is not known.

    Attributes:
      image_id: its id.
      probability: of a pneumothorax, in 0..1, calibrated where that is tuned.
      area_px: pixels of its mask; None where it has none, not even an empty one.
      area_mm2: the same in mm2.
      side: "left", "right" or "both" halves of the image; "" without a mask.
      regions: number of 8-connected regions of the mask.
      guard: how unlike the training films it is; above 1 is beyond the limit.
      seconds: that its prediction took, as its share of the images beside it.
      spacing_mm: size of its pixels, such as 0.143\0.143, rows first.
      spacing_from: the DICOM element that names it.
      warnings: codes, see docs/results.md.
    """

    image_id: str
    probability: float | None = None
    area_px: int | None = None
    area_mm2: float | None = None
    side: str = ""
    regions: int | None = None
    guard: float | None = None
    seconds: float | None = None
    spacing_mm: str = ""
    spacing_from: str = ""
    warnings: tuple[str, ...] = ()


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[Callable[[ImageRow], None]]:
    """Yields what writes one row; the csv appears at the end.

    What is yielded raises a ValueError for an id that is not an image id.
    """
    with durable.atomic_write(path) as aside, aside.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)

        def add(row: ImageRow) -> None:
            if not rle_csv.ID.fullmatch(row.image_id):
                raise ValueError(f"Expected an image id. Received: {row.image_id!r}")
            writer.writerow(_cells(row))

        yield add


def read(path: pathlib.Path) -> dict[str, ImageRow]:
    """Reads {image id: row}, in the file's order.

    Raises:
      CommandError: the csv is missing or malformed.
    """
    return {row.image_id: row for row in _rows(path)}


def digest(path: pathlib.Path) -> str:
    """Returns the sha256 of all that a second run would repeat.

    Raises:
      CommandError: the csv is missing or malformed.
    """
    result = hashlib.sha256()
    for cells in _lines(path):
        kept = [c for k, c in enumerate(cells) if k not in _NOT_SEALED]
        result.update((",".join(kept) + "\n").encode())
    return result.hexdigest()


def check(path: pathlib.Path, expected: str) -> None:
    """Raises a CommandError if the csv is not the one whose `digest` is expected."""
    if digest(path) != expected:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} was changed after it was written", fix=_FIX
        )


def replace_warnings(
    path: pathlib.Path, codes: Collection[str], codes_of: Mapping[str, Iterable[str]]
) -> None:
    """Changes the warnings of some codes, and leaves all others.

    Args:
      path: of the csv, which is written only if it changes.
      codes: those that are taken from each image.
      codes_of: {image id: those of them that it gets}.

    Raises:
      CommandError: the csv is missing or malformed.
    """

    def replaced(row: ImageRow) -> ImageRow:
        kept = [code for code in row.warnings if code not in codes]
        added = codes_of.get(row.image_id, ())
        return dataclasses.replace(row, warnings=(*kept, *added))

    if all(replaced(row) == row for row in _rows(path)):
        return
    with writing(path) as add:
        for row in _rows(path):
            add(replaced(row))


def _cells(row: ImageRow) -> tuple[str, ...]:
    return (
        row.image_id,
        _text(row.probability, "r"),
        _text(row.area_px, "d"),
        _text(row.area_mm2, ".2f"),
        row.side,
        _text(row.regions, "d"),
        _text(row.guard, ".6g"),
        _text(row.seconds, ".4g"),
        row.spacing_mm,
        row.spacing_from,
        _BETWEEN.join(row.warnings),
    )


def _text(value: float | None, form: str) -> str:
    if value is None:
        return ""
    # Reads back as the same float64.
    return repr(float(value)) if form == "r" else format(value, form)


def _rows(path: pathlib.Path) -> Iterator[ImageRow]:
    for number, cells in enumerate(_lines(path)):
        if number:
            try:
                yield _row(cells)
            except ValueError as e:
                raise _damaged(path, number + 1) from e


def _row(cells: list[str]) -> ImageRow:
    text = dict(zip(COLUMNS, cells, strict=True))

    def number(name: str, kind: type) -> float | int | None:
        return kind(text[name]) if text[name] else None

    return ImageRow(
        image_id=text["ImageId"],
        probability=number("probability", float),
        area_px=number("area_px", int),
        area_mm2=number("area_mm2", float),
        side=text["side"],
        regions=number("regions", int),
        guard=number("guard", float),
        seconds=number("seconds", float),
        spacing_mm=text["spacing_mm"],
        spacing_from=text["spacing_from"],
        warnings=tuple(w for w in text["warnings"].split(_BETWEEN) if w),
    )


def _lines(path: pathlib.Path) -> Iterator[list[str]]:
    """Yields the cells of each line, of the first one, too."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, cells in enumerate(csv.reader(file)):
                is_header = tuple(cells) == COLUMNS
                if len(cells) != len(COLUMNS) or is_header != (number == 0):
                    raise _damaged(path, number + 1)
                yield cells
    except FileNotFoundError as e:
        raise CommandError(ExitCode.CORRUPT, f"{path} is missing", fix=_FIX) from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} is no csv of text", fix=_FIX
        ) from e


def _damaged(path: pathlib.Path, line: int) -> CommandError:
    return CommandError(
        ExitCode.CORRUPT,
        f"{path} has other cells than were written, from line {line} on",
        fix=_FIX,
    )
