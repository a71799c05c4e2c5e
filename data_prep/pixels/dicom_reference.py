"""What an object that is derived from a film repeats of the film's header.

Only what identifies patient, study and image, and only values that the standard allows:
writers refuse or, worse, write odd ones. An element whose value is odd counts as empty.
"""

import datetime
import re

import pydicom
import pydicom.multival
import pydicom.uid

from data_prep.core.errors import InputError
from data_prep.pixels import dicom_tags

UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# (element, the most characters of its value representation).
_TEXTS = (
    ("PatientID", 64),
    ("IssuerOfPatientID", 64),
    ("AccessionNumber", 16),
    ("StudyID", 16),
    ("StudyDescription", 64),
)
_NAMES = ("PatientName", "ReferringPhysicianName")
_DATES = ("PatientBirthDate", "StudyDate", "ContentDate", "AcquisitionDate")
_TIMES = ("StudyTime", "ContentTime", "AcquisitionTime")
_SEXES = ("M", "F", "O")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", re.ASCII)
_OPTIONAL = ("IssuerOfPatientID", "StudyDescription")
ELEMENTS = (
    *UIDS,
    *(name for name, _ in _TEXTS),
    *_NAMES,
    *_DATES,
    *_TIMES,
    "PatientSex",
    "Modality",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
)
_CODE = "DCM_NO_REFERENCE"
_FIX = "get the file again from its source"


def of_dataset(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """Returns the elements of a header that a derived object repeats.

    All texts are in UTF-8. There are no sizes of pixels and no positions.

    Raises:
      InputError: DCM_NO_REFERENCE: the header lacks an identifier, or has one that the
        standard forbids; DCM_MULTIFRAME: the film has several frames.
    """
    if (dicom_tags.whole(dataset, "NumberOfFrames") or 1) != 1:
        raise InputError("DCM_MULTIFRAME", "the file has several frames", fix=_FIX)
    result = pydicom.Dataset()
    result.SpecificCharacterSet = "ISO_IR 192"
    for name in UIDS:
        uid = _uid(dataset, name)
        if not uid:
            raise InputError(_CODE, f"the file has no valid {name}", fix=_FIX)
        setattr(result, name, uid)
    if frame := _uid(dataset, "FrameOfReferenceUID"):
        result.FrameOfReferenceUID = frame
    for name, most in _TEXTS:
        value = _text(dataset, name, most)
        if value or name not in _OPTIONAL:
            setattr(result, name, value)
    for name in _NAMES:
        setattr(result, name, _name(dataset, name))
    for name in _DATES:
        setattr(result, name, _date(dataset, name))
    for name in _TIMES:
        value = _one(dataset, name)
        setattr(result, name, value if _TIME.fullmatch(value) else "")
    sex = _one(dataset, "PatientSex")
    result.PatientSex = sex if sex in _SEXES else ""
    modality = _one(dataset, "Modality")
    result.Modality = modality if re.fullmatch(r"[A-Z]{2,16}", modality) else "OT"
    result.Rows = dicom_tags.whole(dataset, "Rows")
    result.Columns = dicom_tags.whole(dataset, "Columns")
    return result


def _uid(dataset: pydicom.Dataset, name: str) -> str:
    uid = pydicom.uid.UID(_one(dataset, name))
    return str(uid) if uid.is_valid else ""


def _one(dataset: pydicom.Dataset, name: str) -> str:
    """Returns an element's one value as it stands; '' if it has none or several."""
    try:
        value = dicom_tags.raw(dataset, name)
    except dicom_tags.OddValueError:
        return ""
    if value is None or isinstance(value, list | pydicom.multival.MultiValue):
        return ""
    # Some writers pad with zeros where the standard has spaces.
    return str(value).strip(" \0")


def _text(dataset: pydicom.Dataset, name: str, most: int) -> str:
    value = _one(dataset, name)
    # A backslash would make two values of one.
    fits = value.isprintable() and "\\" not in value and len(value) <= most
    return value if fits else ""


def _name(dataset: pydicom.Dataset, name: str) -> str:
    value = _text(dataset, name, 3 * 64 + 2)
    # A name of one component ends with its delimiter, so that it is taken for a name.
    return value if not value or "^" in value else f"{value}^"


def _date(dataset: pydicom.Dataset, name: str) -> str:
    value = _one(dataset, name)
    try:
        datetime.datetime.strptime(value, "%Y%m%d")
    except ValueError:
        return ""
    return value if len(value) == 8 else ""
