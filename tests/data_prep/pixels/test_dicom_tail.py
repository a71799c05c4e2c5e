import struct

import numpy as np
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from tests import dicom_files

uid = dicom.pydicom.uid
PIXELS = dicom_files.picture(24)
SYNTAXES = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "big-endian": uid.ExplicitVRBigEndian,
}


def element(syntax, tag, value, vr=b"OB"):
    """Returns one element as bytes."""
    order = "<" if syntax.is_little_endian else ">"
    head = struct.pack(order + "HH", *tag)
    if syntax.is_implicit_VR:
        return head + struct.pack(order + "I", len(value)) + value
    if vr == b"OB":
        return head + vr + b"\0\0" + struct.pack(order + "I", len(value)) + value
    return head + vr + struct.pack(order + "H", len(value)) + value


@pytest.fixture(params=SYNTAXES)
def syntax(request):
    return SYNTAXES[request.param]


@pytest.fixture
def film(syntax):
    return dicom_files.as_bytes(dicom_files.native(PIXELS, syntax=syntax))


def test_elements_and_zeros_may_follow(film, syntax):
    padding = element(syntax, (0xFFFC, 0xFFFC), b"\1" * 20)
    private = element(syntax, (0x7FE1, 0x0010), b"MAKER ", vr=b"LO")
    for tail in (
        b"",
        b"\0" * 4096,
        b"\0" * 3,
        padding,
        padding[:-9],
        private,
        private + padding,
        private + b"\0\0",
        element(syntax, (0x7FE1, 0x0011), b"\1" * 20) + padding,
    ):
        np.testing.assert_array_equal(dicom.read_pixels(film + tail), PIXELS)


def test_other_bytes_are_refused(film, syntax):
    earlier = element(syntax, (0x0009, 0x0010), b"MAKER ", vr=b"LO")
    private = element(syntax, (0x7FE1, 0x0010), b"MAKER ", vr=b"LO")
    for tail in (b"\1", b"junk", b"\x80" * 100, earlier, private[:-1], private * 2):
        with pytest.raises(InputError) as e:
            dicom.read_pixels(film + tail)
        assert e.value.code == "DCM_DAMAGED", tail


def test_a_type_is_two_letters(film, syntax):
    if syntax.is_implicit_VR:
        return
    tail = element(syntax, (0x7FE1, 0x0010), b"MAKER ", vr=b"!!")
    with pytest.raises(InputError, match="DCM_DAMAGED"):
        dicom.read_pixels(film + tail)


def test_bytes_within_the_pixels_are_noticed(film):
    start = film.index(PIXELS.tobytes()[:8]) if film.count(PIXELS.tobytes()) else 700
    for length in (1, 2, 9, 100):
        damaged = film[: start + 90] + film[start : start + length] + film[start + 90 :]
        with pytest.raises(InputError):
            dicom.read_pixels(damaged)


def test_a_deflated_dataset_is_checked_too():
    syntax = uid.DeflatedExplicitVRLittleEndian
    data = dicom_files.native(PIXELS, syntax=syntax)
    data.add_new(0x7FE10010, "LO", "MAKER")
    np.testing.assert_array_equal(dicom.read_pixels(dicom_files.as_bytes(data)), PIXELS)
