"""What a derived object repeats of a film's header is valid, whatever the header is."""

import warnings

import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from data_prep.pixels import dicom_reference
from tests import dicom_files


def reference(**elements):
    data = dicom_files.dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in elements.items():
            setattr(data, name, value)
        return dicom.read_reference(dicom_files.as_bytes(data))


def test_only_what_identifies_is_repeated():
    found = reference(
        PixelSpacing=["0.1", "0.1"],
        SliceThickness="1",
        FrameOfReferenceUID="2.25.7",
        StudyDescription="chest",
        PatientAge="050Y",
    )
    assert "PixelSpacing" not in found
    assert "PatientAge" not in found
    assert (found.FrameOfReferenceUID, found.StudyDescription) == ("2.25.7", "chest")
    assert (found.SOPInstanceUID, found.Rows, found.Modality) == ("2.25.3", 24, "CR")
    assert found.PatientName == "a-patient^"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientID", ["two", "ids"]),
        ("PatientID", "x" * 65),
        ("PatientID", "a\x1bb"),
        ("AccessionNumber", "x" * 17),
        ("PatientSex", "female"),
        ("StudyDate", "20230230"),
        ("StudyDate", "2023011"),
        ("StudyTime", "2460"),
        ("PatientName", "x" * 200),
    ],
)
def test_odd_values_are_empty(name, value):
    assert reference(**{name: value})[name].value == ""


@pytest.mark.parametrize("name", dicom_reference.UIDS)
@pytest.mark.parametrize("value", ["", "1.02.3", "1." * 40, "a film", ["1.2", "1.3"]])
def test_a_film_that_cannot_be_named_is_refused(name, value):
    with pytest.raises(InputError, match=f"no valid {name}") as e:
        reference(**{name: value})
    assert e.value.code == "DCM_NO_REFERENCE"


def test_several_frames_are_refused():
    assert reference(NumberOfFrames=1).Rows == 24
    with pytest.raises(InputError) as e:
        reference(NumberOfFrames=2)
    assert e.value.code == "DCM_MULTIFRAME"
