import io

import numpy as np
import pydicom
import pytest

from data_prep.pixels import dicom
from data_prep.pixels.notices import Notices
from tests import dicom_files

VALUES = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
# Falling, so that a table that is used turns the picture around.
FALLING = np.arange(4095, -1, -1, dtype=np.uint16)


def film(data, vr="OW", *, sequence="VOILUTSequence", big_endian=False):
    """Returns a film of 12 bits with a table of 4096 values."""
    dataset = dicom_files.native(VALUES, bits=12)
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 12])
    if data is not None:
        table.add_new("LUTData", vr, data)
    setattr(dataset, sequence, [table])
    if not big_endian:
        return dicom_files.as_bytes(dataset)
    dataset.PixelData = VALUES.byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, implicit_vr=False, little_endian=False)
    return stream.getvalue()


def shown(data):
    notices = Notices()
    return dicom.read_pixels(data, notices=notices), notices.codes()


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_is_read_in_the_order_of_bytes_of_its_file(sequence):
    expected, _ = shown(film(FALLING.tolist(), "US", sequence=sequence))
    assert expected[0, 0] == 255
    assert expected[-1, -1] == 0
    for data, big_endian in (
        (FALLING.tobytes(), False),
        (FALLING.byteswap().tobytes(), True),
    ):
        image, codes = shown(film(data, sequence=sequence, big_endian=big_endian))
        assert np.array_equal(image, expected)
        assert not codes


@pytest.mark.parametrize(
    ("data", "vr"), [(None, "OW"), (b"", "OW"), (None, "US"), ([], "SQ"), ("x", "LO")]
)
def test_a_table_without_values_is_no_fault_of_ours(data, vr):
    if data is not None:
        found = film(data, vr)
    else:
        found = film(None) if vr == "OW" else film(None, vr)
    image, codes = shown(found)
    assert codes == ("WINDOW_IGNORED",)
    assert image[0, 0] == 0
