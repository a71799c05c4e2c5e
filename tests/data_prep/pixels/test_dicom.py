import io

import jpeg_ls
import numpy as np
import PIL.Image
import pytest
import simplejpeg

from data_prep.core.errors import InputError
from data_prep.phantom import dicom_writer
from data_prep.pixels import dicom
from data_prep.pixels.notices import Notices

UIDS = {"study_uid": "2.25.1", "series_uid": "2.25.2", "sop_uid": "2.25.3"}


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (48, 64), np.uint8)


@pytest.fixture
def path(tmp_path, image):
    path = tmp_path / "study" / "series" / "x.dcm"
    dicom_writer.write_jpeg_baseline(path, image, patient_id="SECRET-NAME", **UIDS)
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
    with pytest.raises(InputError) as e:
        dicom.read_pixels(path.read_bytes())
    assert "SECRET" not in str(e.value)
    return e.value.code


def test_pixels_are_those_of_the_jpeg_stream(path, image):
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, format="JPEG", quality=92)
    expected = np.asarray(PIL.Image.open(stream))
    np.testing.assert_array_equal(dicom.read_pixels(path.read_bytes()), expected)


def test_header(path):
    header = dicom.read_header(path)
    assert header == dicom.Header(
        patient_id="SECRET-NAME",
        modality="CR",
        rows=48,
        columns=64,
        burned_in=False,
        pixels_digest=header.pixels_digest,
    )


def test_digest_is_that_of_the_pixels_alone(path):
    digest = dicom.read_header(path).pixels_digest
    dataset = dicom.pydicom.dcmread(path)
    dataset.PatientID = "another"
    dataset.save_as(path)
    assert dicom.read_header(path).pixels_digest == digest
    dataset.PixelData = dataset.PixelData[:99] + b"x" + dataset.PixelData[100:]
    dataset.save_as(path)
    assert dicom.read_header(path).pixels_digest not in ("", digest)


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
    # A cut in native pixels, which some decoders fill with zeros.
    path.write_bytes(path.read_bytes()[:-100])
    assert code_of(path) == "DCM_TRUNCATED"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"Rows": 0}, "DCM_BAD_GEOMETRY"),
        ({"Rows": 40_000}, "DCM_BAD_GEOMETRY"),
        ({"Rows": None}, "DCM_BAD_GEOMETRY"),
        ({"Rows": 47}, "DCM_BAD_GEOMETRY"),
        ({"PixelData": None}, "DCM_NO_PIXELS"),
        ({"SamplesPerPixel": 3}, "DCM_COLOUR"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "DCM_COLOUR"),
        ({"NumberOfFrames": "2"}, "DCM_MULTIFRAME"),
        ({"RescaleSlope": "0", "RescaleIntercept": "1"}, "DCM_BAD_RESCALE"),
    ],
    ids=str,
)
def test_bad_headers(path, fields, code):
    change(path, **fields)
    assert code_of(path) == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"BitsStored": 9}, "DCM_BAD_BITS"),
        ({"BitsStored": 0}, "DCM_BAD_BITS"),
        ({"BitsStored": None}, "DCM_BAD_BITS"),
        ({"BitsAllocated": 12}, "DCM_BAD_BITS"),
        ({"BitsAllocated": None}, "DCM_BAD_BITS"),
        ({"PixelRepresentation": 2}, "DCM_BAD_BITS"),
        ({"BitsAllocated": 32}, "DCM_TRUNCATED"),
        ({"SamplesPerPixel": 2}, "DCM_TRUNCATED"),
    ],
    ids=str,
)
def test_bad_headers_of_uncompressed_pixels(path, image, fields, code):
    native(path, image)
    change(path, **fields)
    assert code_of(path) == code


def test_bits_of_a_stream_win(path):
    expected = dicom.read_pixels(path.read_bytes())
    for fields in (
        {"BitsStored": 9},
        {"HighBit": 5},
        {"BitsAllocated": 32},
        {"BitsStored": None},
        {"PixelRepresentation": 1},
    ):
        change(path, **fields)
        found = Notices()
        shown = dicom.read_pixels(path.read_bytes(), notices=found)
        np.testing.assert_array_equal(shown, expected)
        assert found.codes() == ("BITS_FROM_STREAM",), fields


def test_unknown_syntax(path):
    dataset = dicom.pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = dicom.pydicom.uid.HTJ2K
    dataset.save_as(path)
    assert code_of(path) == "DCM_NO_DECODER"


def native(path, values, **fields):
    """Rewrites the file as uncompressed with `values`, [rows, columns]."""
    dataset = dicom.pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = dicom.pydicom.uid.ExplicitVRLittleEndian
    bits = 8 * values.dtype.itemsize
    dataset.BitsAllocated = bits
    dataset.BitsStored = fields.pop("bits", bits)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    for name, value in fields.items():
        if name.startswith("PixelPadding"):  # pydicom cannot choose between US and SS.
            dataset.add_new(name, "US", value)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def show(path, **options):
    return dicom.read_pixels(path.read_bytes(), **options)


RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def test_twelve_bits_scale_by_the_stored_range(path):
    native(path, RAMP, bits=12)
    expected = np.rint(RAMP / 4095 * 255)
    np.testing.assert_array_equal(show(path), expected)


def test_only_an_overlay_may_lie_above_the_stored_bits(path):
    drawn = RAMP.copy()
    drawn[3:5, 2:9] |= 1 << 13
    native(path, drawn, bits=12)
    assert code_of(path) == "DCM_BAD_BITS"
    dataset = dicom.pydicom.dcmread(path)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 13)
    dataset.save_as(path)
    found = Notices()
    shown = show(path, notices=found)
    np.testing.assert_array_equal(shown, np.rint(RAMP / 4095 * 255))
    assert found.codes() == ("OVERLAY_BITS_MASKED",)
    # The overlay is at bit 13, and nothing says what bit 14 is.
    dataset.PixelData = (drawn | np.uint16(1 << 14)).tobytes()
    dataset.save_as(path)
    assert code_of(path) == "DCM_BAD_BITS"


def test_signed_values_keep_their_order(path):
    values = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    native(path, values, bits=12)
    shown = show(path).astype(int)
    assert shown.min() == 0
    assert (np.diff(shown.ravel()) >= 0).all()
    # Bits above the stored ones are not part of the value.
    native(path, (values & 0x0FFF).astype(np.int16), bits=12)
    np.testing.assert_array_equal(show(path), shown)


def test_rescale_shifts_the_range_with_the_values(path):
    native(path, RAMP, bits=12)
    expected = show(path)
    native(path, RAMP, bits=12, RescaleSlope="2", RescaleIntercept="-1000")
    np.testing.assert_array_equal(show(path), expected)
    native(path, RAMP, bits=12, RescaleSlope="-1", RescaleIntercept="0")
    np.testing.assert_allclose(show(path).astype(int), 255 - expected, atol=1)


def test_window_is_the_first_or_none_or_percentiles(path):
    window = {"WindowCenter": ["1024", "9"], "WindowWidth": ["1024", "9"]}
    native(path, RAMP, bits=12, **window)
    shown = show(path, voi="first")
    assert (shown[RAMP < 500] == 0).all()
    assert (shown[RAMP > 1550] == 255).all()
    assert 120 < shown[RAMP == 1024][0] < 135
    np.testing.assert_array_equal(show(path, voi="none"), np.rint(RAMP / 4095 * 255))
    shown = show(path, voi="percentile")
    assert (shown.min(), shown.max()) == (0, 255)
    assert (shown == 255).sum() >= 2


def test_padding_is_black_also_when_inverted(path):
    values = RAMP.copy()
    values[:2] = 4095
    padded = {"bits": 12, "PixelPaddingValue": 4095}
    native(path, values, **padded)
    assert (show(path)[:2] == 0).all()
    native(path, values, PhotometricInterpretation="MONOCHROME1", **padded)
    shown = show(path)
    assert (shown[:2] == 0).all()
    assert shown[2, 0] > shown[-1, -2]
    values[:2] = 4000
    native(path, values, PixelPaddingRangeLimit=3990, **padded)
    assert (show(path)[:2] == 0).all()


def test_grey_in_three_channels_is_grey(path, image):
    rgb = np.stack([image] * 3, axis=-1)
    colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
    native(path, rgb, PhotometricInterpretation="RGB", **colour)
    np.testing.assert_array_equal(show(path), image)
    rgb[0, 0, 0] = 255 - rgb[0, 0, 0]
    native(path, rgb, PhotometricInterpretation="RGB", **colour)
    assert code_of(path) == "DCM_COLOUR"
    ybr = np.stack([image, *[np.full_like(image, 128)] * 2], axis=-1)
    native(path, ybr, PhotometricInterpretation="YBR_FULL", **colour)
    np.testing.assert_array_equal(show(path), image)


def test_frames(path, image):
    frames = np.stack([image, 255 - image])
    native(path, image, NumberOfFrames="2", PixelData=frames.tobytes())
    assert code_of(path) == "DCM_MULTIFRAME"
    np.testing.assert_array_equal(show(path, frame=1), 255 - image)
    with pytest.raises(InputError) as e:
        show(path, frame=2)
    assert e.value.code == "DCM_FRAME_MISMATCH"
    native(path, image, NumberOfFrames="1", PixelData=frames.tobytes())
    assert code_of(path) == "DCM_FRAME_MISMATCH"


def test_constant_image(path):
    native(path, np.full((8, 8), 7, np.uint8))
    assert code_of(path) == "IMG_CONSTANT"


def jpeg2000(image):
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(
        stream, format="JPEG2000", irreversible=False, no_jp2=True
    )
    return stream.getvalue()


LOSSLESS = {
    "JPEG2000Lossless": jpeg2000,
    "JPEGLSLossless": lambda image: bytes(jpeg_ls.encode_array(image)),
}


@pytest.mark.parametrize(
    "syntax", ["RLELossless", "JPEG2000Lossless", "JPEGLSLossless"]
)
def test_lossless_codecs(path, image, syntax):
    uid = getattr(dicom.pydicom.uid, syntax)
    native(path, image)
    dataset = dicom.pydicom.dcmread(path)
    if syntax == "RLELossless":
        dataset.compress(uid, image, encoding_plugin="pydicom")
    else:
        dataset.file_meta.TransferSyntaxUID = uid
        stream = LOSSLESS[syntax](image)
        dataset.PixelData = dicom.pydicom.encaps.encapsulate([stream])
        dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    np.testing.assert_array_equal(show(path), image)
    for cut in (1, 9, 60, 300):
        path.write_bytes(path.read_bytes()[:-cut])
        assert code_of(path) in {"DCM_TRUNCATED", "DCM_DAMAGED"}


@pytest.mark.parametrize(
    "syntax", ["ImplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian"]
)
def test_other_encodings_of_the_header(path, image, syntax):
    native(path, image)
    dataset = dicom.pydicom.dcmread(path)
    uid = getattr(dicom.pydicom.uid, syntax)
    dataset.file_meta.TransferSyntaxUID = uid
    dataset.save_as(path, implicit_vr=uid.is_implicit_VR, little_endian=True)
    np.testing.assert_array_equal(show(path), image)


def test_stream_of_another_size_is_refused_before_decoding(path, monkeypatch):
    dataset = dicom.pydicom.dcmread(path)
    stream = io.BytesIO()
    PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(stream, format="JPEG")
    dataset.PixelData = dicom.pydicom.encaps.encapsulate([stream.getvalue()])
    dataset.save_as(path)
    # An attempt to decode would end as DCM_DAMAGED.
    monkeypatch.setattr(simplejpeg, "decode_jpeg", None)
    assert code_of(path) == "DCM_BAD_GEOMETRY"


def test_nested_sequences(path):
    data = path.read_bytes()
    # 5,000 nested sequences of undefined length that never end.
    start = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    place = data.index(b"\x10\x00\x10\x00PN")
    path.write_bytes(data[:place] + start * 5000 + data[place:])
    assert code_of(path) == "DCM_NESTED"


def test_without_a_transfer_syntax(path):
    expected = show(path)
    dataset = dicom.pydicom.dcmread(path)
    del dataset.file_meta.TransferSyntaxUID
    dicom.pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True)
    np.testing.assert_array_equal(show(path), expected)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "DCM_EMPTY"), (b"<html>" * 99, "DCM_NOT_DICOM")],
)
def test_no_dicom_at_all(tmp_path, data, code):
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    assert code_of(path) == code


@pytest.mark.slow
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
