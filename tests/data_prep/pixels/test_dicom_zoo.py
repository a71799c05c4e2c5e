"""What becomes of every odd kind of DICOM file: its pixels, or why it is refused."""

import io

import numpy as np
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from data_prep.pixels.notices import Notices
from tests.data_prep.pixels import dicom_zoo

# Of the three ramps, where nothing but the stored range decides.
WHOLE12, WHOLE8, NARROW = (6, 249), (20, 230), (93, 156)
# {kind: (darkest, brightest value, codes of notices)}, or the code of the refusal.
EXPECTED = {
    "plain 8": (*WHOLE8,),
    "plain 12": (*WHOLE12,),
    "window empty": (*WHOLE12, "WINDOW_IGNORED"),
    "window of width 0": (*WHOLE12, "WINDOW_IGNORED"),
    "window without width": (*WHOLE12, "WINDOW_IGNORED"),
    "window with a comma": (*WHOLE12, "WINDOW_IGNORED"),
    "window of nan": (*WHOLE12, "WINDOW_IGNORED"),
    "window of all": (*WHOLE12,),
    "window of all 8": (*WHOLE8,),
    "narrow": (*NARROW,),
    "narrow, window of all": (*NARROW,),
    "narrow, window empty": (*NARROW, "WINDOW_IGNORED"),
    "narrow, table empty": (*NARROW, "WINDOW_IGNORED"),
    "window half": (0, 255),
    "window sigmoid": (33, 222),
    "window exact": (6, 249),
    "window exact of width 0.5": (*WHOLE12, "WINDOW_IGNORED"),
    "window elsewhere": (*WHOLE12, "WINDOW_IGNORED"),
    "window function unknown": (*WHOLE12, "WINDOW_IGNORED"),
    "table empty": (*WHOLE12, "WINDOW_IGNORED"),
    "table empty, window": (*WHOLE12, "TAG_IGNORED"),
    "table": (*WHOLE12,),
    "table of 16 bits for 12": (*WHOLE12,),
    "table falling": (249, 5),
    "table too short": (*WHOLE12, "WINDOW_IGNORED"),
    "modality table of 16 bits for 12": (*WHOLE12, "FEW_BITS_USED"),
    "modality table empty": (*WHOLE12, "RESCALE_DEFAULTED"),
    "rescale empty": (*WHOLE12, "RESCALE_DEFAULTED"),
    "rescale empty, window": (*WHOLE8, "RESCALE_DEFAULTED"),
    "intercept alone": (*WHOLE12, "RESCALE_DEFAULTED"),
    "slope alone": (*WHOLE12, "RESCALE_DEFAULTED"),
    "slope negative": (235, 25),
    "slope no number": "DCM_BAD_RESCALE",
    "INVERSE of MONOCHROME2": "DCM_BAD_POLARITY",
    "INVERSE of MONOCHROME1": (249, 6),
    "IDENTITY of MONOCHROME1": (249, 6, "POLARITY_BY_PHOTOMETRIC"),
    "no preamble": (*WHOLE12,),
    "bare implicit": (*WHOLE12, "SYNTAX_GUESSED"),
    "bare explicit": (*WHOLE12, "SYNTAX_GUESSED"),
    "preamble, no meta": (*WHOLE12, "SYNTAX_GUESSED"),
    "deflated": (*WHOLE12,),
    "big endian": (*WHOLE12,),
    "big endian 8": (*WHOLE8,),
    "high bit 15 of 12": (*WHOLE12, "HIGH_BIT_IGNORED"),
    "high bit 15 of 12, moved": (*WHOLE12,),
    "high bit 15 of 12, either": "DCM_BAD_BITS",
    "values of 16 bits in 12": "DCM_BAD_BITS",
    "values of 14 bits in 12, window": "DCM_BAD_BITS",
    "values of 10 bits in 16": (2, 249, "FEW_BITS_USED"),
    "j2k of 16 bits in 12": (2, 249, "BITS_FROM_STREAM", "FEW_BITS_USED"),
    "j2k of 16 bits with 12 used": (*WHOLE12,),
    "j2k of 8 bits in 16": (*WHOLE8, "BITS_FROM_STREAM"),
    "j2k of 8 bits in 12": (*WHOLE8, "BITS_FROM_STREAM"),
    "jpeg of 8 bits in 12": (*WHOLE8, "BITS_FROM_STREAM"),
    "jpeg in 16 allocated": (*WHOLE8,),
    "lossless jpeg of 8 bits": (*WHOLE8,),
    "lossless jpeg of 12 bits": (*WHOLE12,),
    "extended jpeg of 12 bits": "DCM_NO_DECODER",
    "baseline called lossless": (*WHOLE8, "SYNTAX_BY_STREAM"),
    "baseline called extended": (*WHOLE8,),
    "baseline called explicit": (*WHOLE8, "SYNTAX_BY_STREAM"),
    "pixels 2 to 1": "DCM_NOT_SQUARE",
    "pixels 1 to 1": (*WHOLE12,),
    "spacing oblong": "DCM_NOT_SQUARE",
    "spacing of one value": (*WHOLE12, "TAG_IGNORED"),
    "padding empty": (*WHOLE12, "PADDING_IGNORED"),
    "padding of two values": (*WHOLE12, "PADDING_IGNORED"),
    "padding 65535": (*WHOLE12,),
    "padding negative": (*WHOLE12, "PADDING_IGNORED"),
    "no samples per pixel": (*WHOLE8, "BITS_DEFAULTED"),
    "no sign": (3, 125, "BITS_DEFAULTED"),
    "no sign, top bit set": "DCM_BAD_BITS",
    "no high bit": (*WHOLE12, "BITS_DEFAULTED"),
    "no photometric": "DCM_COLOUR",
    "photometric in small letters": (*WHOLE12, "TAG_IGNORED"),
    "frames empty": (*WHOLE12, "TAG_IGNORED"),
    "frames 0": (*WHOLE12, "TAG_IGNORED"),
    "charset unknown": (*WHOLE12,),
    "bytes after the end": (*WHOLE12,),
    "more pixels than a frame": "DCM_FRAME_MISMATCH",
    "called signed": "DCM_BAD_BITS",
    "signed": (9, 246),
    "32 bits": (*WHOLE12, "FEW_BITS_USED"),
    "pixels as UN": (*WHOLE12,),
    "rows as SS": (*WHOLE12,),
}


@pytest.fixture(scope="module")
def zoo():
    return dicom_zoo.zoo()


def test_every_kind_has_its_outcome(zoo):
    assert list(zoo) == list(EXPECTED)


@pytest.mark.parametrize("kind", EXPECTED)
def test_outcome(zoo, kind):
    if kind == "lossless jpeg of 12 bits":
        pytest.importorskip("imagecodecs")
    expected, notices = EXPECTED[kind], Notices()
    header = dicom.read_header(io.BytesIO(zoo[kind]))
    assert (header.rows, header.columns, header.patient_id) == (64, 64, "a-patient")
    if isinstance(expected, str):
        with pytest.raises(InputError) as e:
            dicom.read_pixels(zoo[kind], notices=notices)
        assert e.value.code == expected
        return
    dark, bright, *codes = expected
    image = dicom.read_pixels(zoo[kind], notices=notices)
    row = image[40].astype(int)
    assert (row[0], row[-1], image[8, 8]) == (
        dark,
        bright,
        pytest.approx(bright, abs=5),
    )
    assert notices.codes() == tuple(codes)
    # No value has wrapped.
    assert (np.diff(row) * np.sign(bright - dark) >= 0).all()


@pytest.mark.parametrize("kind", ["window half", "window sigmoid", "plain 12"])
def test_none_and_percentile_heed_no_window(zoo, kind):
    whole = dicom.read_pixels(zoo[kind], voi="none")
    np.testing.assert_array_equal(whole, dicom.read_pixels(zoo["plain 12"]))
    stretched = dicom.read_pixels(zoo[kind], voi="percentile")
    assert (stretched.min(), stretched.max()) == (0, 255)
