"""Reads what the plan must know about one input before any decoding."""

import dataclasses
import hashlib
import pathlib

from data_prep.core.errors import InputError
from data_prep.source import dicom
from data_prep.source import raster

# DICOM modalities of plain X-rays; '' where the file names none.
FILM = ("CR", "DX", "PX", "RG", "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """One input whose header is to be read.

    Attributes:
      path: the image.
      mask_path: its PNG mask, or None.
      modalities: the accepted ones; empty accepts all.
      refuse_burned_in: whether to refuse a file whose header says that text is
        drawn into its pixels.
    """

    path: pathlib.Path
    mask_path: pathlib.Path | None
    modalities: tuple[str, ...]
    refuse_burned_in: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeaderFacts:
    """What the header of an image, and its mask, say.

    Attributes:
      patient_id: as stored, '' if unknown; hash it before storing it anywhere.
      pixels_digest: hash of the encoded pixels, '' if unknown.
      is_film: whether the modality is that of a plain X-ray, or unknown.
      burned_in: whether the file says that text is drawn into its pixels.
      positive: whether the mask has a pixel; None without a mask.
    """

    patient_id: str
    pixels_digest: str
    is_film: bool
    burned_in: bool
    positive: bool | None


def read_header_facts(probe: Probe) -> HeaderFacts:
    """Reads the header of an image, and its mask if that is a file.

    Raises:
      InputError: either is unusable, or their sizes differ.
    """
    header, data = None, b""
    if is_dicom(probe.path):
        header = dicom.read_header(probe.path)
        _check(header, probe)
        size = (header.rows, header.columns)
    else:
        data = probe.path.read_bytes()
        size = raster.size_of(data)
    facts = HeaderFacts(
        patient_id=header.patient_id if header else "",
        pixels_digest=header.pixels_digest if header else _digest(data),
        is_film=header is None or header.modality in FILM,
        burned_in=header is not None and header.burned_in,
        positive=None,
    )
    if probe.mask_path is None:
        return facts
    mask = raster.read_mask(probe.mask_path.read_bytes())
    if mask.shape != size:
        raise InputError(
            "MASK_SIZE",
            f"the mask is {mask.shape}, the image {size}",
            fix="give a mask of the image's own size",
        )
    return dataclasses.replace(facts, positive=bool(mask.any()))


def is_dicom(path: pathlib.Path) -> bool:
    """Returns whether a source is DICOM, by its suffix."""
    return path.suffix.lower() == ".dcm"


def _check(header: dicom.Header, probe: Probe) -> None:
    if probe.modalities and header.modality not in probe.modalities:
        raise InputError(
            "DCM_NOT_CXR",
            f"the modality is not {' or '.join(probe.modalities)}",
            fix="remove the file or add its modality to --modalities",
        )
    if probe.refuse_burned_in and header.burned_in:
        raise InputError(
            "DCM_BURNED_IN",
            "the file says that text is drawn into its pixels",
            fix="remove the text or the file, or leave out --refuse_burned_in",
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
