"""`dicom_seg/`: a DICOM segmentation of each film of --source that is a DICOM file.

dicom_seg/<image id>.dcm   see dicom_seg.py

A file is named by the id of its image, so films with one SOPInstanceUID do not replace
each other. One that is there already and has the film's mask is kept. What becomes of
a film without one is a code in `images.csv`, and a count in the log.
"""

import collections
import csv
import hashlib
import json
import logging
import pathlib
from collections.abc import Mapping

from data_prep.build import publishing
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.dataset import rle
from data_prep.pixels import dicom
from data_prep.source import image_files
from data_prep.source import image_ids
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile
from inference.config import PredictConfig
from inference.prediction import convert_source
from inference.prediction import dicom_seg
from inference.prediction import images_csv
from inference.prediction import joining
from inference.prediction import prediction_folder
from inference.prediction import submission
from inference.prediction.dicom_seg import Maker
from inference.prediction.dicom_seg import UnwritableError

FOLDER = "dicom_seg"
# {code in images.csv: why a film has no segmentation}.
WARNINGS = {
    "seg_not_dicom": "no segmentation: the film is no DICOM file",
    "seg_no_reference": "no segmentation: the header lacks a valid identifier of the "
    "image, its series or its study",
    "seg_multiframe": "no segmentation: the DICOM file has several frames",
    "seg_source_changed": "no segmentation: the file is gone, or is not the one that "
    "was predicted",
    "seg_refused": "no segmentation: highdicom refuses the header, or does not read "
    "back what it wrote",
}
_CODE_OF = {"DCM_MULTIFRAME": "seg_multiframe", "DCM_NO_REFERENCE": "seg_no_reference"}


class _NoneError(Exception):
    """A film has no segmentation; its argument is a key of WARNINGS."""


def write(config: PredictConfig) -> None:
    """Writes the segmentations that are not there yet, and the codes of the others.

    Args:
      config: configuration of the finished prediction, with a `source`.

    Raises:
      CommandError: a csv is damaged, or highdicom is not installed.
      OSError: a disk or a network fails.
    """
    masks = submission.read(config.output / joining.SUBMISSION)
    files, hashes = _sources(config), _hashes(config.output / convert_source.FOLDER)
    maker = _maker(config.output)
    codes = {}
    for image_id, encoded in tracked(
        masks.items(), "dicom_seg", len(masks), unit="films"
    ):
        path = config.output / FOLDER / f"{image_id}.dcm"
        try:
            _write_one(
                path,
                files.get(image_id),
                hashes.get(image_id, ""),
                encoded,
                maker,
            )
        except _NoneError as e:
            [codes[image_id]] = e.args
            # Of another prediction, or of the film that was there before.
            path.unlink(missing_ok=True)
    _tell(codes, len(masks))
    table = config.output / images_csv.FILE_NAME
    if not table.exists():
        logging.warning(
            "%s is of an earlier release: no images.csv says which films have no "
            "segmentation",
            config.output,
        )
        return
    images_csv.replace_warnings(table, WARNINGS, {i: [c] for i, c in codes.items()})


def _write_one(
    path: pathlib.Path,
    file: SourceFile | None,
    sha256: str,
    encoded: str,
    maker: Maker,
) -> None:
    """Writes the segmentation of one film, or keeps it.

    Raises:
      _NoneError: there can be none.
    """
    if file is not None and file.kind != "dicom":
        raise _NoneError("seg_not_dicom")
    uid = dicom_seg.identifier(maker, path.stem, sha256, encoded)
    data = _read(file, sha256)
    try:
        source = dicom.read_reference(data)
    except InputError as e:
        raise _NoneError(_CODE_OF.get(e.code, "seg_refused")) from None
    mask = rle.decode(encoded, source.Rows, source.Columns)
    if path.exists() and dicom_seg.holds(path, mask, uid):
        return
    try:
        with durable.atomic_write(path) as aside:
            dicom_seg.write(aside, source, mask, maker, uid)
    except UnwritableError as e:
        # Not the error's own text, which may quote the header.
        logging.debug("no segmentation of %s: %s", path.stem, e)
        raise _NoneError("seg_refused") from None


def _read(file: SourceFile | None, sha256: str) -> bytes:
    """Returns the bytes that were predicted."""
    if file is None:
        raise _NoneError("seg_source_changed")
    try:
        data = file.read_bytes()
    except InputError:
        raise _NoneError("seg_source_changed") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _NoneError("seg_source_changed")
    return data


def _maker(output: pathlib.Path) -> Maker:
    request = durable.read_json(output / prediction_folder.REQUEST, fix="predict again")
    text = json.dumps(request, sort_keys=True)
    return Maker(
        request=hashlib.sha256(text.encode()).hexdigest(),
        members=(*request["members"], *request["classifiers"]),
        postprocess=request["postprocess"],
    )


def _sources(config: PredictConfig) -> dict[str, SourceFile]:
    """Returns {image id: file}, found as the conversion has found them."""
    folder, nobody = config.source, Quarantine()
    id_of = image_ids.id_of(config.id_from)
    files = image_files.find(folder, nobody, id_of=id_of, quiet=True)
    if config.id_from != "sop_instance_uid":
        return files
    files_of: dict[str, list[SourceFile]] = {}
    for file in tracked(files.values(), "ids", len(files), unit="files"):
        try:
            uid = image_ids.read_sop_instance_uid(file)
        except InputError:
            continue
        files_of.setdefault(uid, []).append(file)
    return image_files.one_of_each(files_of, folder, nobody, quiet=True)


def _hashes(dataset: pathlib.Path) -> dict[str, str]:
    """Returns {image id: sha256 of the file that was converted}."""
    path = dataset / publishing.SOURCES_FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return dict(row for row in csv.reader(file) if len(row) == 2)
    except FileNotFoundError as e:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} is missing, which says what was predicted",
            fix="restore it, or predict again",
        ) from e


def _tell(codes: Mapping[str, str], total: int) -> None:
    logging.info("%d of %d films have a DICOM segmentation", total - len(codes), total)
    first = {code: image_id for image_id, code in reversed(codes.items())}
    for code, count in sorted(collections.Counter(codes.values()).items()):
        logging.warning(
            "%s: %d film(s), the first is %s: %s",
            code,
            count,
            first[code],
            WARNINGS[code],
        )
