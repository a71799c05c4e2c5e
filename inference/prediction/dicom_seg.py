r"""Makes DICOM segmentations of single films, by the optional package highdicom.

    pip install highdicom    # or `.[dicom-seg]`, or requirements-dicom-seg.txt

highdicom 0.28.2 copies PixelSpacing into an object without SliceThickness, which a film
has not, and then refuses to read what it has written. So it gets no PixelSpacing: the
segmentation has the film's own pixels, and names the film.

The same mask of the same film by the same members is the same bytes: identifiers are
derived from their hashes, and the dates are the film's.
"""

import contextlib
import dataclasses
import hashlib
import logging
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
import pydicom

from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

ALGORITHM = "pneumothorax-seg-tf"
_LABEL = "Pneumothorax"
# SNOMED CT.
_PROPERTY = ("36118008", "SCT", _LABEL)
# Where a film has no date at all; the standard wants one.
_NO_DATE, _NO_TIME = "19000101", "000000"
_EPOCHS = (
    ("ContentDate", "ContentTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("StudyDate", "StudyTime"),
)


class UnwritableError(Exception):
    """The segmentation of a film cannot be written, or not be read back."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maker:
    """What made the masks of a prediction.

    Attributes:
      request: sha256 of the prediction's provenance.
      members: sha256 of the weights of each member.
      postprocess: spec of the post-processing.
    """

    request: str
    members: tuple[str, ...]
    postprocess: str

    @property
    def version(self) -> str:
        """Version of the package, and a digest of the members."""
        package = installing.version(ALGORITHM) or "source"
        digest = hashlib.sha256(" ".join(self.members).encode()).hexdigest()
        return f"{package} members {digest[:12]}"

    def parameters(self) -> dict[str, str]:
        """What the segment says of the algorithm."""
        members = " ".join(member[:12] for member in self.members)
        return {"members": members, "postprocess": self.postprocess}


def check_installed() -> None:
    """Raises a CommandError unless highdicom can be used."""
    _highdicom()


def identifier(maker: Maker, *facts: str) -> str:
    """Returns the UID of what a prediction makes of some facts.

    It has the form that DICOM PS3.5 B.2 derives from a UUID.
    """
    text = "\n".join((maker.request, *facts))
    digest = hashlib.sha256(text.encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"


def write(
    path: pathlib.Path,
    source: pydicom.Dataset,
    mask: np.ndarray,
    maker: Maker,
    instance_uid: str,
) -> None:
    """Writes one segmentation, and reads it back by highdicom and by pydicom.

    Args:
      path: of the new file; on an UnwritableError it is of no use.
      source: of the film, as `dicom.read_reference` returns it.
      mask: [Rows, Columns] uint8 of 0 and 1, which may be empty: then one frame says
        that the film was looked at.
      maker: what made the mask.
      instance_uid: SOPInstanceUID of the segmentation.

    Raises:
      UnwritableError: highdicom refuses the film, or what it wrote has other pixels.
      CommandError: highdicom is not installed.
    """
    highdicom = _highdicom()
    with _quiet():
        made = _made(highdicom, source, mask, maker, instance_uid)
        made.save_as(path, enforce_file_format=True)
        _check(highdicom, path, source, mask)


def holds(path: pathlib.Path, mask: np.ndarray, instance_uid: str) -> bool:
    """Returns whether a file is the segmentation with this UID and this mask."""
    try:
        with _quiet(), path.open("rb") as file:
            stored = pydicom.dcmread(file)
            same = stored.SOPInstanceUID == instance_uid
            return same and np.array_equal(stored.pixel_array, mask)
    except (OSError, UnwritableError):
        return False


def _made(highdicom, source, mask, maker, instance_uid):
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=ALGORITHM,
        version=maker.version,
        family=codes.DCM.ArtificialIntelligence,
        parameters=maker.parameters(),
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=_LABEL,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=highdicom.sr.CodedConcept(*_PROPERTY),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    date, time = _when(source)
    made = highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=mask,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=identifier(maker, instance_uid, "series"),
        series_number=1,
        sop_instance_uid=instance_uid,
        instance_number=1,
        manufacturer=ALGORITHM,
        manufacturer_model_name=ALGORITHM,
        software_versions=maker.version,
        device_serial_number=maker.request[:16],
        # An empty mask is a frame, too; highdicom would choose that and warn.
        omit_empty_frames=False,
        content_label="PNEUMOTHORAX",
        content_description=f"{_LABEL}, predicted; not a medical device",
        content_date=date,
        content_time=time,
        series_description=f"{_LABEL} (predicted)",
    )
    _fix_to_source(made, date, time, identifier(maker, instance_uid, "dimensions"))
    return made


def _when(source: pydicom.Dataset) -> tuple[str, str]:
    """Returns date and time of the film."""
    for date, time in _EPOCHS:
        if source[date].value:
            return source[date].value, source[time].value or _NO_TIME
    return _NO_DATE, _NO_TIME


def _fix_to_source(made, date: str, time: str, dimensions: str) -> None:
    """Replaces what highdicom takes from the clock and from random numbers."""
    made.InstanceCreationDate, made.InstanceCreationTime = date, time
    for item in made.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = date + time
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in made[name].value:
            item.DimensionOrganizationUID = dimensions


def _check(highdicom, path: pathlib.Path, source, mask: np.ndarray) -> None:
    read = highdicom.seg.segread(path)
    frames = read.get_pixels_by_source_instance([source.SOPInstanceUID])
    if not np.array_equal(frames[0, ..., 0], mask):
        raise UnwritableError("highdicom reads other pixels")
    with path.open("rb") as file:
        if not np.array_equal(pydicom.dcmread(file).pixel_array, mask):
            raise UnwritableError("pydicom reads other pixels")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Turns every fault into an UnwritableError without a value of the header.

    The libraries warn of odd values, and quote the patient's name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, OSError, CommandError, UnwritableError):
        raise
    # highdicom checks what it is given by errors of nearly any type.
    except Exception as e:  # noqa: BLE001
        raise UnwritableError(type(e).__name__) from None


def _highdicom():
    # It logs identifiers and names at every level.
    logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import highdicom
    except ImportError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "highdicom, which writes DICOM segmentations, is not installed",
            fix=f"{installing.dicom_seg()}, or leave dicom_seg out of --outputs",
        ) from e
    return highdicom
