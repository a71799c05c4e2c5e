import io

import numpy as np
import PIL.Image
import pytest

from data_prep import dicom
from data_prep.failures import Rejected

UIDS = {"study_uid": "2.25.1", "series_uid": "2.25.2", "sop_uid": "2.25.3"}


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (48, 64), np.uint8)


@pytest.fixture
def path(tmp_path, image):
    path = tmp_path / "study" / "series" / "x.dcm"
    dicom.write_jpeg_baseline(path, image, patient_id="SECRET-NAME", **UIDS)
    return path


def change(path, **fields):
    """Rewrites the file with other header fields; None deletes one."""
    dataset = dicom.pydicom.dcmread(path)
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def code_of(path):
    with pytest.raises(Rejected) as caught:
        dicom.read_pixels(path.read_bytes())
    assert "SECRET" not in str(caught.value)
    return caught.value.code


def test_pixels_are_those_of_the_jpeg_stream(path, image):
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, format="JPEG", quality=92)
    expected = np.asarray(PIL.Image.open(stream))
    np.testing.assert_array_equal(dicom.read_pixels(path.read_bytes()), expected)


def test_header(path):
    header = dicom.read_header(path)
    assert header == dicom.Header(patient_id="SECRET-NAME", rows=48, columns=64)


def test_file_is_what_the_competition_has(path):
    dataset = dicom.pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert (dataset.BitsStored, dataset.SamplesPerPixel) == (8, 1)


def test_monochrome1_is_inverted_once(path):
    expected = 255 - dicom.read_pixels(path.read_bytes())
    change(path, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(dicom.read_pixels(path.read_bytes()), expected)


def test_uncompressed(path, image):
    dataset = dicom.pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = dicom.pydicom.uid.ExplicitVRLittleEndian
    dataset.PixelData = image.tobytes()
    dataset.save_as(path)
    np.testing.assert_array_equal(dicom.read_pixels(path.read_bytes()), image)
    # Cut in native pixels: some decoders fill up with zeros.
    path.write_bytes(path.read_bytes()[:-100])
    assert code_of(path) == "DCM_DAMAGED"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"Rows": 0}, "DCM_BAD_GEOMETRY"),
        ({"Rows": 40_000}, "DCM_BAD_GEOMETRY"),
        ({"Rows": None}, "DCM_BAD_GEOMETRY"),
        ({"Rows": 47}, "DCM_DAMAGED"),
        ({"PixelData": None}, "DCM_NO_PIXELS"),
        ({"SamplesPerPixel": 3}, "DCM_COLOUR"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "DCM_COLOUR"),
        ({"NumberOfFrames": "2"}, "DCM_MULTIFRAME"),
        ({"BitsStored": 9}, "DCM_BAD_BITS"),
        ({"HighBit": 5}, "DCM_BAD_BITS"),
        ({"PixelRepresentation": 1}, "DCM_BAD_BITS"),
    ],
    ids=str,
)
def test_bad_headers(path, fields, code):
    change(path, **fields)
    assert code_of(path) == code


def test_unknown_syntax(path):
    dataset = dicom.pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = dicom.pydicom.uid.JPEG2000
    dataset.save_as(path)
    assert code_of(path) == "DCM_NO_DECODER"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "DCM_EMPTY"), (b"<html>" * 99, "DCM_NOT_DICOM")],
)
def test_no_dicom_at_all(tmp_path, data, code):
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    assert code_of(path) == code


def test_every_truncation_is_refused(path):
    data = path.read_bytes()
    for length in [*range(1, len(data) - 20, 7), *range(len(data) - 20, len(data))]:
        path.write_bytes(data[:length])
        assert code_of(path) in {
            "DCM_TRUNCATED",
            "DCM_DAMAGED",
            "DCM_NOT_DICOM",
            "DCM_NO_PIXELS",
            "DCM_BAD_GEOMETRY",
            "DCM_NO_DECODER",
            "DCM_COLOUR",
            "DCM_BAD_BITS",
        }, length
