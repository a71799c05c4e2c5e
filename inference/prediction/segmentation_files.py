"""`dicom_seg/`: a DICOM segmentation of each film of --source that is a DICOM file.

dicom_seg/<image id>.dcm   see dicom_seg.py

A file is named by the id of its image, so films with one SOPInstanceUID do not replace
each other. One that is there already and has the film's mask is kept. What becomes of
a film without one is a code in `images.csv`, and a count in the log.
"""

import collections
import csv
import functools
import hashlib
import json
import logging
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping

from data_prep.build import publishing
from data_prep.core import durable
from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.source import image_files
from data_prep.source import image_ids
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile
from inference.config import PredictConfig
from inference.prediction import convert_source
from inference.prediction import dicom_seg
from inference.prediction import film_segmentation
from inference.prediction import images_csv
from inference.prediction import joining
from inference.prediction import prediction_folder
from inference.prediction import submission
from inference.prediction.dicom_seg import Maker
from inference.prediction.film_segmentation import WARNINGS
from inference.prediction.film_segmentation import Film

FOLDER = "dicom_seg"
# Of each process; a film takes a tenth of a second.
_LIMITS = workers.Limits(memory_bytes=4 << 30, seconds=60)


def write(config: PredictConfig) -> None:
    """Writes the segmentations that are not there yet, and the codes of the others.

    Args:
      config: configuration of the finished prediction, with a `source`.

    Raises:
      CommandError: a csv is damaged, or highdicom is not installed.
      OSError: a disk or a network fails.
    """
    dicom_seg.check_installed()
    masks = submission.read(config.output / joining.SUBMISSION)
    codes = _written(config, masks)
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


def _written(config: PredictConfig, masks: Mapping[str, str]) -> dict[str, str]:
    """Writes the segmentations; returns {image id: code} of films without one."""
    films, codes = _films(config, masks), {}
    one = functools.partial(film_segmentation.write, _maker(config.output))
    num_workers = max(1, min(config.num_workers, len(masks)))
    # A header that kills or stops highdicom costs the one film.
    with workers.WorkerPool(one, num_workers=num_workers, limits=_LIMITS) as pool:
        results = pool.imap_ordered(one, films)
        for film, result in tracked(results, FOLDER, len(masks), unit="films"):
            if isinstance(result, InputError):
                film.path.unlink(missing_ok=True)
                result = "seg_refused"
            if result:
                codes[film.path.stem] = result
    return codes


def _films(config: PredictConfig, masks: Mapping[str, str]) -> Iterator[Film]:
    files, hashes = _sources(config), _hashes(config.output / convert_source.FOLDER)
    for image_id, encoded in masks.items():
        yield Film(
            path=config.output / FOLDER / f"{image_id}.dcm",
            file=files.get(image_id),
            sha256=hashes.get(image_id, ""),
            rle=encoded,
        )


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
