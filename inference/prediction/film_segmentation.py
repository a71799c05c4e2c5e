"""Writes the segmentation of one film: the work of a process without TensorFlow."""

import dataclasses
import hashlib
import pathlib

from data_prep.core import durable
from data_prep.core.errors import InputError
from data_prep.dataset import rle
from data_prep.pixels import dicom
from data_prep.source.source_file import SourceFile
from inference.prediction import dicom_seg
from inference.prediction.dicom_seg import Maker
from inference.prediction.dicom_seg import UnwritableError

# {code in images.csv: why a film has no segmentation}.
WARNINGS = {
    "seg_not_dicom": "no segmentation: the film is no DICOM file",
    "seg_no_reference": "no segmentation: the header lacks a valid identifier of the "
    "image, its series or its study",
    "seg_multiframe": "no segmentation: the DICOM file has several frames",
    "seg_source_changed": "no segmentation: the file is gone, or is not the one that "
    "was predicted",
    "seg_refused": "no segmentation: highdicom refuses the header, takes too long, or "
    "does not read back what it wrote",
}
_CODE_OF = {"DCM_MULTIFRAME": "seg_multiframe", "DCM_NO_REFERENCE": "seg_no_reference"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
    """A film whose mask was predicted.

    Attributes:
      path: of its segmentation; the stem is the image's id.
      file: the film; None if it is not there any more.
      sha256: of the film that was predicted.
      rle: its mask, see data_prep/dataset/rle.py.
    """

    path: pathlib.Path
    file: SourceFile | None
    sha256: str
    rle: str


class _NoneError(Exception):
    """A film has no segmentation; its argument is a key of WARNINGS."""


def write(maker: Maker, film: Film) -> str:
    """Writes the segmentation of a film, or keeps it if it is there.

    Args:
      maker: what made the mask.
      film: the film.

    Returns:
      '', or a key of WARNINGS if there can be none; what was there is deleted then.

    Raises:
      ValueError: the mask is none of this film.
      OSError: a disk or a network fails.
    """
    try:
        _write(maker, film)
    except _NoneError as e:
        [code] = e.args
        # Of another prediction, or of the film that was there before.
        film.path.unlink(missing_ok=True)
        return code
    return ""


def _write(maker: Maker, film: Film) -> None:
    if film.file is not None and film.file.kind != "dicom":
        raise _NoneError("seg_not_dicom")
    data = _read(film)
    try:
        source = dicom.read_reference(data)
    except InputError as e:
        raise _NoneError(_CODE_OF.get(e.code, "seg_refused")) from None
    try:
        mask = rle.decode(film.rle, source.Rows, source.Columns)
    except InputError as e:
        # The film is the one that was predicted, so this is our own fault.
        raise ValueError(f"Expected a mask of {film.path.stem}. Received: {e}") from e
    uid = dicom_seg.identifier(maker, film.path.stem, film.sha256, film.rle)
    if film.path.exists() and dicom_seg.holds(film.path, mask, uid):
        return
    try:
        with durable.atomic_write(film.path) as aside:
            dicom_seg.write(aside, source, mask, maker, uid)
    except UnwritableError:
        # Its text may quote the header.
        raise _NoneError("seg_refused") from None


def _read(film: Film) -> bytes:
    """Returns the bytes that were predicted."""
    if film.file is None:
        raise _NoneError("seg_source_changed")
    try:
        data = film.file.read_bytes()
    except InputError:
        raise _NoneError("seg_source_changed") from None
    if hashlib.sha256(data).hexdigest() != film.sha256:
        raise _NoneError("seg_source_changed")
    return data
