"""Writes phantoms as a folder in the competition's layout.

    OUT/dicom-images-train/<study>/<series>/<sop>.dcm
    OUT/dicom-images-test/<study>/<series>/<sop>.dcm
    OUT/train-rle.csv          relative, column-major, ` -1` for negatives
    OUT/test-rle.csv           the truth, which a competition would keep secret

One of the training files has no row in the csv, and one is cut short.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from data_prep.config import SyntheticConfig
from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import tracked
from data_prep.dataset import rle
from data_prep.phantom import dicom_writer
from data_prep.phantom import phantom

TRAIN_FOLDER = "dicom-images-train"
TEST_FOLDER = "dicom-images-test"
TRAIN_CSV = "train-rle.csv"
TEST_CSV = "test-rle.csv"
_CONFIG = "synthetic.json"
# UIDs under the root for UUID-derived ones (DICOM PS3.5 B.2), so none is real.
_UID_ROOT = "2.25.1019"
_LIMITS = workers.Limits(memory_bytes=2 << 30, seconds=120)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Image:
    index: int
    path: pathlib.Path
    patient_id: str
    pneumothorax: bool
    damaged: bool
    seed: int
    size: int


def write(config: SyntheticConfig) -> None:
    """Writes the folder, or confirms one of the same configuration.

    Raises:
      CommandError: the folder has another configuration.
    """
    wanted = durable.to_jsonable(
        dataclasses.asdict(config) | {"output": "", "num_workers": 0}
    )
    marker = config.output / _CONFIG
    with folder_lock.locked(config.output):
        durable.drop_incomplete(config.output)
        if marker.exists():
            stored = durable.read_json(marker, fix="delete the folder")
            durable.refuse_other_config(
                config.output, stored, wanted, fix="choose another --output"
            )
            return
        _write(config)
        durable.write_json(marker, wanted)


def _write(config: SyntheticConfig) -> None:
    # Two more than the labelled ones: one without a row and one that is cut short.
    train = _plan(config, TRAIN_FOLDER, config.num_train + 2, first=0)
    unlabelled = train[-2]
    train[-1] = dataclasses.replace(train[-1], damaged=True)
    test = _plan(config, TEST_FOLDER, config.num_test, first=len(train))
    total = len(train) + len(test)
    rows = {}
    draw = functools.partial(_draw, config.output)
    with workers.WorkerPool(
        draw, num_workers=config.num_workers, limits=_LIMITS
    ) as pool:
        drawn = pool.imap_ordered(draw, train + test)
        for image, lines in tracked(drawn, "draw", total, unit="images"):
            if isinstance(lines, Exception):
                raise CommandError(
                    ExitCode.ENVIRONMENT,
                    f"drawing image {image.index} failed: {lines}",
                    fix="see that memory and disk suffice",
                )
            rows[image.path] = lines
    train_rows = [r for i in train if i != unlabelled for r in rows[i.path]]
    test_rows = [r for i in test for r in rows[i.path]]
    for name, lines in ((TRAIN_CSV, train_rows), (TEST_CSV, test_rows)):
        text = "".join(f"{line}\n" for line in ["ImageId, EncodedPixels", *lines])
        durable.write_text(config.output / name, text)


def _plan(config, folder, count, *, first) -> list[_Image]:
    rng = np.random.default_rng([config.seed, first])
    # An exact share, so that small sets have the right statistics too.
    positive = np.arange(count) < round(config.positive_fraction * count)
    rng.shuffle(positive)
    images = []
    patient = 0
    num_remaining = 0
    for k in range(count):
        if not num_remaining:
            patient, num_remaining = patient + 1, int(rng.integers(1, 4))
        num_remaining -= 1
        uid = f"{_UID_ROOT}.{config.seed}.{first + k + 1}"
        images.append(
            _Image(
                index=first + k,
                path=pathlib.Path(folder, f"{uid}.2", f"{uid}.3", f"{uid}.4.dcm"),
                patient_id=f"{folder}-{patient:05d}",
                pneumothorax=bool(positive[k]),
                damaged=False,
                seed=config.seed,
                size=config.image_size,
            )
        )
    return images


def _draw(output: pathlib.Path, image: _Image) -> list[str]:
    """Writes one DICOM file; returns its csv rows."""
    rng = np.random.default_rng([image.seed, 7919, image.index])
    drawn = phantom.draw(rng, size=image.size, pneumothorax=image.pneumothorax)
    study, series, name = image.path.parts[1:]
    path = output / image.path
    dicom_writer.write_jpeg_baseline(
        path,
        drawn.image,
        patient_id=image.patient_id,
        study_uid=study,
        series_uid=series,
        sop_uid=name.removesuffix(".dcm"),
    )
    if image.damaged:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
    image_id = path.stem
    return [f"{image_id}, {text}" for text in _annotations(rng, drawn.mask)]


def _annotations(rng, mask: np.ndarray) -> list[str]:
    """Returns one row, or two that overlap as from two annotators, for `mask`."""
    if not mask.any() or rng.random() < 0.7:
        return [rle.encode(mask)]
    rows = np.flatnonzero(mask.any(axis=1))
    cut, overlap = int(np.median(rows)), max(1, len(rows) // 10)
    upper, lower = mask.copy(), mask.copy()
    upper[cut + overlap :] = 0
    lower[: cut - overlap] = 0
    return [rle.encode(part) for part in (upper, lower)]
