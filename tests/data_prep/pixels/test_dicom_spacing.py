"""The size of a pixel is what the header says, and unknown where that cannot be."""

import pytest

from data_prep.pixels import dicom
from data_prep.pixels.dicom_spacing import ODD
from data_prep.pixels.dicom_spacing import Spacing
from tests import dicom_files

AT_DETECTOR = Spacing(0.2, 0.2, "ImagerPixelSpacing")


def spacing(**elements):
    """Returns what is read of a film with these elements, of the text given."""
    data = dicom_files.dataset()
    for name, text in elements.items():
        data.add_new(name, "DS", "1")
        data[name] = dicom_files.pydicom.dataelem.RawDataElement(
            data[name].tag, "DS", len(text), text.encode(), 0, False, True
        )
    return dicom.read_spacing(dicom_files.as_bytes(data))


def test_rows_come_first():
    found = spacing(PixelSpacing=r"0.143\0.25")
    assert found == Spacing(0.143, 0.25, "PixelSpacing")
    assert found.pixel_mm2 == 0.143 * 0.25
    assert found.text == r"0.143\0.25"


def test_the_first_element_that_holds_a_size_counts():
    assert spacing() is None
    assert spacing(ImagerPixelSpacing=r"0.2\0.2") == AT_DETECTOR
    both = {"PixelSpacing": r"0.1\0.1", "ImagerPixelSpacing": r"0.2\0.2"}
    assert spacing(**both).origin == "PixelSpacing"
    scanned = spacing(NominalScannedPixelSpacing=r"0.1\0.1")
    assert scanned.origin == "NominalScannedPixelSpacing"


@pytest.mark.parametrize(
    "text",
    ["", r"0\0", r"-0.1\0.1", r"nan\0.1", r"0.1\inf", "0.1", r"0.1\0.1\0.1", "a film"]
    + [r"1e300\1e300", r"1e-300\1", r"0.1\x", "\\", r"11\11", "\xff\\0.1"],
)
def test_what_no_film_has_is_unknown(text):
    found = spacing(PixelSpacing=text)
    assert found.origin == ODD
    assert (found.text, found.is_known) == ("", False)
    # Another element may still know.
    assert spacing(PixelSpacing=text, ImagerPixelSpacing=r"0.2\0.2") == AT_DETECTOR


@pytest.mark.parametrize("data", [b"", b"no film", b"DICM" * 99])
def test_a_file_without_a_header_has_none(data):
    assert dicom.read_spacing(data) is None
