"""Labels of whole images, without masks: reads them in the forms of the public sets.

A label is 1, 0, UNCERTAIN or None for "says nothing". What becomes of the last two is a
policy; nothing becomes a negative because a label is missing.
"""

import collections
import dataclasses
import logging
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.labels import label_cells
from data_prep.labels import label_table
from data_prep.labels.label_cells import UNCERTAIN
from data_prep.labels.label_table import LabelTable

_SUFFIXES = (".gz", ".dcm", ".dicom", ".png", ".jpg", ".jpeg")
# The folder of a patient, as CheXpert and MIMIC-CXR name it.
_PATIENT_FOLDER = re.compile(r"(patient|p)\d+", re.IGNORECASE)
_FRONTAL = frozenset(["pa", "ap", "frontal", "ap_horizontal"])
# Why an image with rows in the csv has no label, and the flag that decides it.
_LEFT_OUT = {
    "view": "another view than those of --views",
    UNCERTAIN: "an uncertain label (--uncertain=positive or negative would keep them)",
    None: "no word on the finding, which makes no negative "
    "(--unmentioned=negative would count them as such)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageLabels:
    """The contents of the csvs of image-level labels.

    Attributes:
      labels: {image id: 1 or 0}.
      patients: {image id: patient id}, of the images whose patient is named.
      left_out: {image id: why it has no label, as one of a few fixed sentences}.
      faults: {image id: why its rows are unusable}, with line numbers.
    """

    labels: dict[str, int]
    patients: dict[str, str]
    left_out: dict[str, str]
    faults: dict[str, InputError]

    def log_left_out(self, image_ids: Iterable[str]) -> None:
        """Logs how many of some images are left out, one line for each reason."""
        reasons = (self.left_out.get(i) for i in image_ids)
        counts = collections.Counter(r for r in reasons if r)
        for reason, count in sorted(counts.items()):
            logging.info("%d images are left out: %s", count, reason)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Columns:
    """Which column is what; None where there is none."""

    image_id: str
    labels: tuple[str, ...]
    patient: str | None
    view: str | None
    reader: str | None

    def all(self) -> list[str]:
        found = (self.image_id, *self.labels, self.patient, self.view, self.reader)
        return [name for name in found if name]


@dataclasses.dataclass(kw_only=True)
class _Rows:
    """What the rows of one image say.

    Attributes:
      cells: (reader, its label cells) by line.
      view: of the first row.
      patient: likewise.
    """

    view: str
    patient: str
    cells: list[tuple[int, str, tuple[str, ...]]] = dataclasses.field(
        default_factory=list
    )


def key_of(cell: str) -> str:
    """Returns the image id that a cell names: without folders and known suffixes."""
    name = cell.replace("\\", "/").rsplit("/", 1)[-1]
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name


def read(config: ConvertConfig, resolve: Callable[[str], str] = key_of) -> ImageLabels:
    """Reads the labels of `config.label_csv`.

    Several rows of an image are boxes or readers of it. Per reader, and so over all
    rows where the csv names none: one positive row makes a positive, else one uncertain
    row an uncertain label, else one negative row a negative. Readers are combined in
    the same way (--readers=any), or a positive is what more than half of those who say
    anything call one (majority). A csv of one 0/1 cell for each image that has an image
    as both, and no column of readers, is at fault: the image is quarantined.

    Args:
      config: the conversion.
      resolve: maps a cell of the id column to an image id.

    Raises:
      CommandError: a csv is missing or unusable, has no column that is known or given,
        or no row of a positive label.
    """
    table = LabelTable(config.label_csv)
    columns = _columns(config, table)
    for path, shared in zip(table.paths[1:], table.joined_on, strict=True):
        if set(shared) <= {*columns.labels, columns.view}:
            raise CommandError(
                ExitCode.FLAGS,
                f"{path} shares no column that names images or studies with the csvs "
                f"before it, only {', '.join(shared)}",
                fix="give csvs that share the column to join them on",
            )
    images, default_patient = {}, columns.patient or columns.image_id
    for row in table.rows(columns.all()):
        cell = row.cells[columns.image_id]
        image_id = resolve(cell)
        if not image_id:
            raise CommandError(
                ExitCode.FLAGS,
                f"CSV_ROW in {table.paths[0]}, line {row.line}: no image id",
                fix="correct that line",
            )
        rows = images.setdefault(
            image_id,
            _Rows(
                view=row.cells[columns.view] if columns.view else "",
                patient=_patient(row.cells[default_patient], bool(columns.patient)),
            ),
        )
        reader = row.cells[columns.reader] if columns.reader else ""
        cells = tuple(row.cells[name] for name in columns.labels)
        rows.cells.append((row.line, reader, cells))
    result = _decide(config, table, columns, images)
    patients = {i: rows.patient for i, rows in images.items() if rows.patient}
    _log(config, table, columns, images, result, patients)
    return dataclasses.replace(result, patients=patients)


def _columns(config: ConvertConfig, table: LabelTable) -> _Columns:
    image_id = table.choose(config.id_column, label_table.ID_COLUMNS)
    if not image_id:
        raise table.lacks(
            "no known column of image ids", fix="name it with --id_column"
        )
    wanted = config.label_column or _label_columns(config, table)
    patient = table.choose(config.patient_column, label_table.PATIENT_COLUMNS)
    if config.group_csv:
        patient = None
    view = table.choose(config.view_column, label_table.VIEW_COLUMNS)
    if config.views and not view:
        raise table.lacks(
            "no known column of views for --views", fix="name it with --view_column"
        )
    return _Columns(
        image_id=image_id,
        labels=tuple(table.choose(name, ()) for name in wanted),
        patient=patient,
        view=view,
        reader=table.choose("", label_table.READER_COLUMNS),
    )


def _label_columns(config: ConvertConfig, table: LabelTable) -> tuple[str, ...]:
    """Returns the columns named as the findings, or else one of lists of findings."""
    asked = {finding.strip().lower(): finding for finding in config.positive}
    named = [name for name in table.columns if name.lower() in asked]
    missing = asked.keys() - {name.lower() for name in named}
    if named and missing:
        raise table.lacks(
            f"no column of {', '.join(asked[m] for m in sorted(missing))}, but one of "
            f"{', '.join(named)}",
            fix="name the columns with --label_column",
        )
    found = named or [table.choose("", label_table.LABEL_COLUMNS)]
    if not found[0]:
        raise table.lacks(
            "no known column of labels", fix="name it with --label_column"
        )
    return tuple(found)


def _patient(cell: str, named: bool) -> str:
    """Returns the patient of a cell; of a path, it is the folder of the patient.

    Args:
      cell: of the column of patients, or of images where there is none.
      named: whether it is a column of patients.
    """
    if "/" not in cell:
        return cell if named else ""
    folders = [f for f in cell.split("/")[:-1] if _PATIENT_FOLDER.fullmatch(f)]
    # MIMIC-CXR groups the folders of patients in folders like p10.
    return folders[-1] if folders else cell if named else ""


def _decide(
    config: ConvertConfig,
    table: LabelTable,
    columns: _Columns,
    images: dict[str, _Rows],
) -> ImageLabels:
    read_cells = [
        label_cells.reader(
            (cells[k] for rows in images.values() for _, _, cells in rows.cells),
            config.positive,
            where=f"column {name!r} of {table.paths[0]}",
        )
        for k, name in enumerate(columns.labels)
    ]
    for name, cells in zip(columns.labels, read_cells, strict=True):
        by_name = not config.label_column and name in label_table.LABEL_COLUMNS
        if by_name and cells.numeric:
            raise CommandError(
                ExitCode.FLAGS,
                f"column {name!r} of {table.paths[0]} holds numbers and does not say "
                "of which finding",
                fix="name it with --label_column if it is the one",
            )
    views = _views(config, table, columns, images)
    policy = {
        UNCERTAIN: {"positive": 1, "negative": 0}.get(config.uncertain),
        None: {"negative": 0}.get(config.unmentioned),
    }
    # Text names one box or one finding; numbers say what the image is.
    numeric = all(read.numeric for read in read_cells)
    found, left_out, faults = {}, {}, {}
    for image_id, rows in images.items():
        if views and rows.view.lower() not in views:
            left_out[image_id] = _LEFT_OUT["view"]
            continue
        said = [
            (
                line,
                reader,
                _over([r(c) for r, c in zip(read_cells, cells, strict=True)]),
            )
            for line, reader, cells in rows.cells
        ]
        verdicts = {label for _, _, label in said}
        if numeric and not columns.reader and verdicts >= {0, 1}:
            faults[image_id] = _conflict([line for line, _, _ in said])
            continue
        label = _combined(said, config.readers)
        kept = label if label in (0, 1) else policy[label]
        if kept is None:
            left_out[image_id] = _LEFT_OUT[label]
        else:
            found[image_id] = kept
    return ImageLabels(labels=found, patients={}, left_out=left_out, faults=faults)


def _views(config, table, columns: _Columns, images: dict[str, _Rows]) -> set[str]:
    """Returns the views that are kept, in lower case; empty keeps all."""
    views = {view.lower(): view for view in config.views}
    there = {rows.view.lower() for rows in images.values()}
    for view in sorted(views.keys() - there):
        raise CommandError(
            ExitCode.FLAGS,
            f"no row of {table.paths[0]} has the view {views[view]!r} in its column "
            f"{columns.view!r}",
            fix="write --views as the csv does, or name the column with --view_column",
        )
    return set(views)


def _over(labels: Sequence[int | None]) -> int | None:
    """Combines the columns of one row, in which one that says nothing is no 0."""
    return next((x for x in (1, UNCERTAIN, None, 0) if x in labels), None)


def _any(labels: Sequence[int | None]) -> int | None:
    return next((x for x in (1, UNCERTAIN, 0) if x in labels), None)


def _combined(said: Sequence[tuple[int, str, int | None]], readers: str) -> int | None:
    by_reader = collections.defaultdict(list)
    for _, reader, label in said:
        by_reader[reader].append(label)
    labels = [_any(of_one) for of_one in by_reader.values()]
    told = [label for label in labels if label is not None]
    if readers != "majority" or not told:
        return _any(labels)
    if 2 * told.count(1) > len(told):
        return 1
    # A tie of 1 and 0 is a negative.
    return 0 if 2 * told.count(0) >= len(told) else UNCERTAIN


def _conflict(lines: list[int]) -> InputError:
    return InputError(
        "LABEL_CONFLICT",
        f"lines {', '.join(map(str, lines))}: 1 and 0 for one image",
        fix="keep the row that is true",
    )


def _log(config, table, columns: _Columns, images, result, patients) -> None:
    positives = sum(result.labels.values())
    logging.info(
        "%s labels %d images, %d of them positive, by %s; images by %s",
        table.paths[0],
        len(result.labels),
        positives,
        ", ".join(columns.labels),
        columns.image_id,
    )
    if not config.group_csv:
        what = columns.patient or f"the folders in {columns.image_id}"
        if patients:
            logging.info("%s names the patients of %d images", what, len(patients))
        else:
            logging.warning(
                "no column of %s is known to name patients; --patient_column would "
                "keep a patient's images in one fold",
                table.paths[0],
            )
    if columns.view and not config.views:
        views = (rows.view.lower() for rows in images.values())
        others = sum(view not in _FRONTAL for view in views)
        if others:
            logging.warning(
                "%d of %d images are of another view than PA and AP, by %s; --views "
                "would leave them out",
                others,
                len(images),
                columns.view,
            )
