"""The rows of a csv of image-level labels: which column is what, and joined csvs.

Column names are those of the public sets; a set with other names needs the flags. Their
sources are the papers and data pages of NIH ChestX-ray14, CheXpert, MIMIC-CXR-JPG,
PadChest, VinDr-CXR and RSNA.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv

# Each in the order of preference.
ID_COLUMNS = (
    "ImageId",
    "ImageID",
    "image_id",
    "Image Index",
    "dicom_id",
    "Path",
    "fname",
    "patientId",
)
PATIENT_COLUMNS = ("Patient ID", "PatientID", "subject_id", "patient_id")
VIEW_COLUMNS = (
    "View Position",
    "ViewPosition",
    "Projection",
    "AP/PA",
    "Frontal/Lateral",
)
READER_COLUMNS = ("rad_id", "rad_ID", "reader", "reader_id")
LABEL_COLUMNS = ("Finding Labels", "Labels", "class_name", "class")
_SHOWN = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the labels.

    Attributes:
      line: its line in the first csv, for messages.
      cells: {column: value without blanks around it}, of the wanted columns.
    """

    line: int
    cells: dict[str, str]


class LabelTable:
    """One csv, or several that are joined on the columns that they share.

    MIMIC-CXR-JPG has the labels of a study in one csv and the images of the study in
    another. A row of the first csv is joined with every row of the next that has the
    same values in all columns that both have.

    Attributes:
      paths: the csvs, the one with the labels first.
      columns: the names of all columns, without blanks around them.
      joined_on: the shared columns of each csv after the first.
    """

    def __init__(self, paths: Sequence[pathlib.Path]):
        """Reads the headers.

        Raises:
          CommandError: a csv is missing or empty, or shares no column with those
            before it.
        """
        self.paths = tuple(paths)
        self._headers = [_header(path) for path in self.paths]
        self.columns: list[str] = []
        self.joined_on: list[list[str]] = []
        for path, header in zip(self.paths, self._headers, strict=True):
            if self.columns and not set(header) & set(self.columns):
                raise CommandError(
                    ExitCode.FLAGS,
                    f"{path} has no column that the csvs before it in --label_csv have",
                    fix="give csvs that share the column to join them on",
                )
            shared = [c for c in header if c and c in self.columns]
            if self.columns:
                self.joined_on.append(shared)
                logging.info(
                    "%s is joined to the csvs before it by %s",
                    path.name,
                    ", ".join(shared),
                )
            self.columns += [c for c in header if c and c not in self.columns]

    def choose(self, given: str, known: Sequence[str]) -> str | None:
        """Returns the column that is meant, or None where none is known.

        Args:
          given: its name, or '' for the first of `known` that the csv has.
          known: names by which it is recognised.

        Raises:
          CommandError: there is no column of the given name.
        """
        if not given:
            return next((name for name in known if name in self.columns), None)
        if given not in self.columns:
            raise self.lacks(f"no column {given!r}", fix="give one of these")
        return given

    def lacks(self, what: str, *, fix: str) -> CommandError:
        """Returns the error for a column that is not there; it lists those that are."""
        shown = ", ".join(self.columns[:_SHOWN])
        more = ", ..." * (len(self.columns) > _SHOWN)
        names = " and ".join(map(str, self.paths))
        return CommandError(
            ExitCode.FLAGS, f"{names}: {what} among {shown}{more}", fix=fix
        )

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Yields the rows; those of the first csv without a partner are left out.

        Raises:
          CommandError: a row has too few cells, or more than the header.
        """
        on, seen = [], set(self._headers[0])
        for header in self._headers[1:]:
            on.append([name for name in header if name and name in seen])
            seen |= set(header)
        needed = set(wanted).union(*on)
        others = [
            _indexed(path, header, needed, keys)
            for path, header, keys in zip(
                self.paths[1:], self._headers[1:], on, strict=True
            )
        ]
        num_alone = 0
        for row in _rows(self.paths[0], self._headers[0], needed):
            joined = [row.cells]
            for partners, keys in zip(others, on, strict=True):
                joined = [
                    cells | other
                    for cells in joined
                    for other in partners.get(tuple(cells[k] for k in keys), ())
                ]
            num_alone += not joined
            for cells in joined:
                yield Row(line=row.line, cells=cells)
        if num_alone:
            logging.info(
                "%d rows of %s have no partner in the other csvs and are left out",
                num_alone,
                self.paths[0],
            )


def _header(path: pathlib.Path) -> list[str]:
    for _, row in rle_csv.read_csv(path):
        return [name.strip() for name in row]
    raise CommandError(
        ExitCode.FLAGS, f"{path} has no row", fix="give a csv with a header"
    )


def _rows(path: pathlib.Path, header: list[str], needed: set[str]) -> Iterator[Row]:
    # The first of two columns of one name, as `choose` cannot tell them apart.
    index_of = {n: header.index(n) for n in header if n in needed}
    last = max(index_of.values(), default=0)
    for number, (line, row) in enumerate(rle_csv.read_csv(path)):
        if number == 0:
            continue
        # Headers with a comma in a name, as in NIH's csv, still count the same.
        if len(row) <= last or any(cell.strip() for cell in row[len(header) :]):
            raise CommandError(
                ExitCode.FLAGS,
                f"CSV_ROW in {path}, line {line}: {len(row)} cells, the header has "
                f"{len(header)}",
                fix="correct that line",
            )
        yield Row(line=line, cells={n: row[k].strip() for n, k in index_of.items()})


def _indexed(
    path: pathlib.Path, header: list[str], needed: set[str], keys: list[str]
) -> dict[tuple[str, ...], list[dict[str, str]]]:
    """Returns {values of the shared columns: cells of the rows that have them}."""
    partners: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in _rows(path, header, needed):
        partners.setdefault(tuple(row.cells[k] for k in keys), []).append(row.cells)
    return partners
