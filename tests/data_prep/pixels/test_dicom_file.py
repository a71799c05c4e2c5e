import io
import zlib

import numpy as np
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from data_prep.pixels import dicom_file
from data_prep.pixels import dicom_frames
from tests import dicom_files

pydicom = dicom_files.pydicom
UID = pydicom.uid


def code_of(data):
    with pytest.raises(InputError) as e:
        dicom.read_pixels(data)
    return e.value.code


@pytest.mark.parametrize(
    "syntax",
    [
        "ImplicitVRLittleEndian",
        "ExplicitVRLittleEndian",
        "ExplicitVRBigEndian",
        "DeflatedExplicitVRLittleEndian",
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32])
def test_uncompressed_syntaxes_have_equal_pixels(syntax, dtype):
    values = dicom_files.picture(24).astype(dtype) * (1 if dtype == np.uint8 else 100)
    signed = int(np.issubdtype(dtype, np.signedinteger))
    plain = dicom_files.native(values, PixelRepresentation=signed)
    other = dicom_files.native(
        values, syntax=getattr(UID, syntax), PixelRepresentation=signed
    )
    data = dicom_files.as_bytes(other)
    expected = dicom.read_pixels(dicom_files.as_bytes(plain))
    np.testing.assert_array_equal(dicom.read_pixels(data), expected)
    header = dicom.read_header(io.BytesIO(data))
    assert (header.rows, header.columns, header.modality) == (24, 24, "CR")


def test_padding_of_a_file_without_vrs():
    values = dicom_files.picture(24).astype(np.int16) * 20 - 900
    values[:4] = -2000
    data = dicom_files.native(
        values, syntax=UID.ImplicitVRLittleEndian, PixelRepresentation=1
    )
    data.add_new("PixelPaddingValue", "SS", -2000)
    image = dicom.read_pixels(dicom_files.as_bytes(data))
    assert (image[:4] == 0).all()
    assert image[4:].min() > 0


def test_words_of_a_big_endian_file_of_bytes():
    image = dicom_files.picture(24)
    data = dicom_files.native(image, syntax=UID.ExplicitVRBigEndian)
    data["PixelData"].VR = "OW"
    data.PixelData = image.reshape(-1, 2)[:, ::-1].tobytes()
    shown = dicom.read_pixels(dicom_files.as_bytes(data))
    np.testing.assert_array_equal(shown, image)


def test_a_deflated_file_has_a_limit(monkeypatch):
    data = dicom_files.as_bytes(
        dicom_files.native(
            dicom_files.picture(24), syntax=UID.DeflatedExplicitVRLittleEndian
        )
    )
    assert dicom.read_pixels(data).shape == (24, 24)
    start = 144 + int.from_bytes(data[140:144], "little")
    size = len(zlib.decompress(data[start:], -zlib.MAX_WBITS))
    monkeypatch.setattr(dicom_file, "MAX_INFLATED_BYTES", size)
    assert dicom.read_pixels(data).shape == (24, 24)
    monkeypatch.setattr(dicom_file, "MAX_INFLATED_BYTES", size - 1)
    assert code_of(data) == "DCM_BOMB"


def test_a_film_that_needs_more_memory_says_how_much(monkeypatch):
    data = dicom_files.as_bytes(dicom_files.native(dicom_files.picture(640)))
    needed = 2 * 640 * 640 + 640 * 640 * 9
    monkeypatch.setattr(dicom_frames, "MAX_BYTES", needed)
    assert dicom.read_pixels(data).shape == (640, 640)
    monkeypatch.setattr(dicom_frames, "MAX_BYTES", needed - 1)
    with pytest.raises(InputError) as e:
        dicom.read_pixels(data)
    assert e.value.code == "DCM_TOO_LARGE"
    assert "640 x 640 pixels in 0 MiB need 4 MiB of memory" in e.value.reason


def colour_jpeg(channels, **options):
    return dicom_files.compressed(channels, format="JPEG", quality=98, **options)


def test_three_channels_of_a_jpeg_are_what_stream_and_header_say():
    image = dicom_files.picture(24)
    grey = np.stack([image] * 3, axis=-1)
    colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}

    def shown(stream, photometric):
        data = dicom_files.framed(
            stream, PhotometricInterpretation=photometric, **colour
        )
        return dicom.read_pixels(dicom_files.as_bytes(data)).astype(int)

    options = {"subsampling": 0}
    ybr = shown(colour_jpeg(grey, **options), "YBR_FULL_422")
    assert np.abs(ybr - image).max() < 9
    # Three equal channels that nothing in the stream calls RGB.
    stream = colour_jpeg(grey, keep_rgb=True, **options)
    place = stream.index(b"\xff\xee")
    length = int.from_bytes(stream[place + 2 : place + 4], "big")
    stream = stream[:place] + stream[place + 2 + length :]
    frame = stream.index(b"\xff\xc0") + 10
    scan = stream.index(b"\xff\xda") + 5
    stream = bytearray(stream)
    for number in range(3):  # Component ids that libjpeg takes for YCbCr.
        stream[frame + 3 * number] = stream[scan + 2 * number] = number + 1
    assert np.abs(shown(bytes(stream), "RGB") - image).max() < 9
    with pytest.raises(InputError) as e:
        shown(bytes(stream), "YBR_FULL")
    assert e.value.code == "DCM_COLOUR"


def test_a_jpeg_with_a_hole_is_refused():
    # A hole of a few bytes can leave a stream whose blocks all end where they must.
    stream = dicom_files.compressed(dicom_files.picture(96), format="JPEG")
    rng = np.random.default_rng(0)
    scan = stream.index(b"\xff\xda") + 12
    for _ in range(40):
        first, length = rng.integers(scan, len(stream) - 610), rng.integers(90, 600)
        holed = stream[:first] + stream[first + length :]
        data = dicom_files.framed(holed, side=96)
        assert code_of(dicom_files.as_bytes(data)) == "DCM_DAMAGED"


def test_a_sign_that_stream_and_header_disagree_about():
    deep = dicom_files.picture(24).astype(np.uint16) * 16
    bits = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}

    def shown(values, sign):
        stream = dicom_files.compressed(
            values, format="JPEG2000", irreversible=False, no_jp2=True
        )
        data = dicom_files.framed(
            stream, syntax=UID.JPEG2000Lossless, PixelRepresentation=sign, **bits
        )
        return dicom.read_pixels(dicom_files.as_bytes(data))

    np.testing.assert_array_equal(shown(deep, 0), shown(deep, 1))
    assert shown(deep * 15, 0).max() > 200
    with pytest.raises(InputError) as e:
        shown(deep * 15, 1)
    assert e.value.code == "DCM_BAD_BITS"


def test_jpeg_2000_with_a_sign():
    imagecodecs = pytest.importorskip("imagecodecs")
    values = dicom_files.picture(24).astype(np.int16) * 12 - 1500
    stream = imagecodecs.jpeg2k_encode(
        values, level=0, codecformat="j2k", bitspersample=13
    )
    data = dicom_files.framed(
        bytes(stream),
        syntax=UID.JPEG2000Lossless,
        BitsAllocated=16,
        BitsStored=13,
        HighBit=12,
        PixelRepresentation=1,
    )
    native = dicom_files.native(values, bits=13, PixelRepresentation=1)
    shown = dicom.read_pixels(dicom_files.as_bytes(data), voi="none")
    expected = dicom.read_pixels(dicom_files.as_bytes(native), voi="none")
    np.testing.assert_array_equal(shown, expected)
