"""A first look at one input: all that the plan must know before any decoding."""

import dataclasses
import pathlib

from data_prep import dicom
from data_prep import raster
from data_prep.failures import Rejected


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """One input to look at.

    Attributes:
      path: the image.
      mask_path: its PNG mask, or None.
      modalities: those that are accepted; empty accepts all.
    """

    path: pathlib.Path
    mask_path: pathlib.Path | None
    modalities: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found.

    Attributes:
      patient_id: as stored, '' if unknown; hash it before it goes anywhere.
      positive: whether the mask has a pixel; None without a mask.
    """

    patient_id: str
    positive: bool | None


def look(probe: Probe) -> Facts:
    """Reads the header of an image, and its mask if that is a file.

    Raises:
      Rejected: either is unusable, or they do not fit.
    """
    patient_id = ""
    if is_dicom(probe.path):
        header = dicom.read_header(probe.path)
        patient_id, size = header.patient_id, (header.rows, header.columns)
        if probe.modalities and header.modality not in probe.modalities:
            raise Rejected(
                "DCM_NOT_CXR",
                f"the modality is not {' or '.join(probe.modalities)}",
                mend="remove the file or add its modality to --modalities",
            )
    else:
        size = raster.size_of(probe.path.read_bytes())
    if probe.mask_path is None:
        return Facts(patient_id=patient_id, positive=None)
    mask = raster.read_mask(probe.mask_path.read_bytes())
    if mask.shape != size:
        raise Rejected(
            "MASK_SIZE",
            f"the mask is {mask.shape}, the image {size}",
            mend="give a mask of the image's own size",
        )
    return Facts(patient_id=patient_id, positive=bool(mask.any()))


def is_dicom(path: pathlib.Path) -> bool:
    """Tells by the name whether a source is DICOM."""
    return path.suffix.lower() == ".dcm"
