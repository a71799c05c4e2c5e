"""Reads what the plan must know about one input before any decoding."""

import dataclasses
import hashlib

from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from data_prep.pixels import mask_files
from data_prep.pixels import mask_plausibility
from data_prep.pixels import raster
from data_prep.source import source_file
from data_prep.source.source_file import SourceFile

# DICOM modalities of plain X-rays; '' where the file names none.
FILM = ("CR", "DX", "PX", "RG", "")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One input whose header is to be read.

    Attributes:
      file: the image.
      mask_file: its PNG mask, or None.
      modalities: the accepted ones; empty accepts all.
      refuse_burned_in: whether to refuse a file whose header says that text is
        drawn into its pixels.
      rows: its RLE rows, or None.
    """

    file: SourceFile
    mask_file: SourceFile | None
    modalities: tuple[str, ...]
    refuse_burned_in: bool
    rows: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HeaderFacts:
    """What the header of an image, and its mask, say.

    Attributes:
      patient_id: as stored, '' if unknown; hash it before storing it anywhere.
      pixels_digest: hash of the encoded pixels, '' if unknown.
      is_film: whether the modality is that of a plain X-ray, or unknown.
      burned_in: whether the file says that text is drawn into its pixels.
      positive: whether the mask has a pixel; None without a mask.
      num_pixels: of the image.
      mask_sha256: of the mask in its file, '' without a mask.
    """

    patient_id: str
    pixels_digest: str
    is_film: bool
    burned_in: bool
    positive: bool | None
    num_pixels: int
    mask_sha256: str = ""


def read_header_facts(probe: Probe) -> HeaderFacts:
    """Reads the header of an image, and its mask if that is a file.

    Raises:
      InputError: either is unusable, their sizes differ, or the mask cannot be one.
    """
    header, data = None, b""
    if probe.file.kind == "dicom":
        with source_file.named(probe.file.path), probe.file.open() as stream:
            header = dicom.read_header(stream)
        _check(header, probe)
        size = (header.rows, header.columns)
    else:
        data = probe.file.read_bytes()
        size = raster.size_of(data)
    facts = HeaderFacts(
        patient_id=header.patient_id if header else "",
        pixels_digest=header.pixels_digest if header else _digest(data),
        is_film=header is None or header.modality in FILM,
        burned_in=header is not None and header.burned_in,
        positive=None,
        num_pixels=size[0] * size[1],
    )
    if probe.rows is not None:
        mask_plausibility.refuse_impossible_rows(list(probe.rows), *size)
    if probe.mask_file is None:
        return facts
    mask_data = probe.mask_file.read_bytes()
    mask = mask_files.read(mask_data)
    if mask.shape != size:
        raise InputError(
            "MASK_SIZE",
            f"the mask is {mask.shape}, the image {size}",
            fix="give a mask of the image's own size",
        )
    mask_plausibility.refuse_impossible(mask)
    return dataclasses.replace(
        facts, positive=bool(mask.any()), mask_sha256=_digest(mask_data)
    )


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
