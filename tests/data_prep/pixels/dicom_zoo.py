"""One odd DICOM file per kind, each a ramp from dark to bright with a bright square."""

import io

import numpy as np

from tests import dicom_files
from tests import lossless_jpeg_files

pydicom = dicom_files.pydicom
UID = pydicom.uid
_SIDE = 64


def ramp(low: int, high: int, dtype=np.uint16) -> np.ndarray:
    """Returns [64, 64], left to right from low to high, with a square of `high`."""
    image = np.tile(np.linspace(low, high, _SIDE), (_SIDE, 1))
    image[4:12, 4:12] = high
    return np.rint(image).astype(dtype)


GREY8, GREY12, NARROW = ramp(20, 230, np.uint8), ramp(100, 4000), ramp(1500, 2500)


def file(pixels=GREY12, bits=12, *, without=(), extra=(), syntax=None, **fields):
    """Returns a file's bytes.

    Args:
      pixels: [64, 64], of 8, 16 or 32 bits.
      bits: stored ones.
      without: names of elements to leave out.
      extra: (name, VR, value) of elements to add as they are.
      syntax: transfer syntax.
      **fields: other elements.
    """
    bits = min(bits, 8 * pixels.dtype.itemsize)
    data = dicom_files.native(
        pixels, bits=bits, syntax=syntax or dicom_files.NATIVE, **fields
    )
    for name in without:
        delattr(data, name)
    for name, vr, value in extra:
        data.add_new(name, vr, value)
    return dicom_files.as_bytes(data)


def stream(encoded: bytes, syntax: str, bits: int, allocated: int = 16, **fields):
    """Returns a file whose one fragment is `encoded`."""
    described = {
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "SamplesPerPixel": 1,
    }
    data = dicom_files.framed(
        encoded, side=_SIDE, syntax=getattr(UID, syntax), **described | fields
    )
    return dicom_files.as_bytes(data)


def table(first: int, bits: int, entries) -> "pydicom.Dataset":
    """Returns an item of a sequence of lookup tables."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", [int(x) for x in entries])
    return item


def unlabelled(*, preamble: bool, implicit: bool) -> bytes:
    """Returns a dataset without file meta."""
    syntax = UID.ImplicitVRLittleEndian if implicit else UID.ExplicitVRLittleEndian
    data = pydicom.dcmread(io.BytesIO(file(syntax=syntax)))
    data.file_meta, data.preamble = pydicom.dataset.FileMetaDataset(), None
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, data, implicit_vr=implicit, little_endian=True)
    return (b"\0" * 128 + b"DICM" if preamble else b"") + bare.getvalue()


def _jpeg() -> bytes:
    return dicom_files.compressed(GREY8, format="JPEG", quality=95)


def _j2k(pixels: np.ndarray) -> bytes:
    return dicom_files.compressed(
        pixels, format="JPEG2000", irreversible=False, no_jp2=True
    )


def zoo() -> dict[str, bytes]:
    """Returns {kind: a file of it}."""
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}
    whole_table = table(0, 12, np.arange(4096))
    sparse_table = table(0, 16, np.arange(4096))
    deep, padding = ramp(100, 16000), "PixelPaddingValue"
    lossless8 = lossless_jpeg_files.encode(GREY8, 8)
    longer = GREY8.tobytes() + bytes(_SIDE * _SIDE + 512)
    encapsulated = pydicom.encaps.encapsulate([_jpeg()])
    return {
        "plain 8": file(GREY8),
        "plain 12": file(),
        "window empty": file(WindowCenter="", WindowWidth=""),
        "window of width 0": file(WindowCenter="2048", WindowWidth="0"),
        "window without width": file(WindowCenter="2048"),
        "window with a comma": file(WindowCenter="20475", WindowWidth="40950").replace(
            b"20475 ", b"2047,5"
        ),
        "window of nan": file(WindowCenter="2048", WindowWidth="nan"),
        "window of all": file(**window),
        "window of all 8": file(GREY8, WindowCenter="128", WindowWidth="256"),
        "narrow": file(NARROW),
        "narrow, window of all": file(NARROW, **window),
        "narrow, window empty": file(NARROW, WindowCenter="", WindowWidth=""),
        "narrow, table empty": file(NARROW, VOILUTSequence=[]),
        "window half": file(WindowCenter="2048", WindowWidth="2048"),
        "window sigmoid": file(VOILUTFunction="SIGMOID", **window),
        "window exact": file(VOILUTFunction="LINEAR_EXACT", **window),
        "window exact of width 0.5": file(
            WindowCenter="2048", WindowWidth="0.5", VOILUTFunction="LINEAR_EXACT"
        ),
        "window elsewhere": file(WindowCenter="40", WindowWidth="80"),
        "window function unknown": file(VOILUTFunction="LOG", **window),
        "table empty": file(VOILUTSequence=[]),
        "table empty, window": file(VOILUTSequence=[], **window),
        "table": file(VOILUTSequence=[whole_table]),
        "table of 16 bits for 12": file(VOILUTSequence=[sparse_table]),
        "table falling": file(
            VOILUTSequence=[table(0, 8, np.arange(4096)[::-1] // 16)]
        ),
        "table too short": file(
            VOILUTSequence=[table(0, 12, [1])],
        ).replace(
            b"\x28\x00\x02\x30US\x06\x00\x01\x00", b"\x28\x00\x02\x30US\x06\x00\x09\x00"
        ),
        "modality table of 16 bits for 12": file(ModalityLUTSequence=[sparse_table]),
        "modality table empty": file(ModalityLUTSequence=[]),
        "rescale empty": file(RescaleSlope="", RescaleIntercept=""),
        "rescale empty, window": file(
            GREY8,
            RescaleSlope="",
            RescaleIntercept="",
            WindowCenter="128",
            WindowWidth="256",
        ),
        "intercept alone": file(RescaleIntercept="-1024"),
        "slope alone": file(RescaleSlope="2"),
        "slope negative": file(GREY8, RescaleSlope="-10", RescaleIntercept="3000"),
        "slope no number": file(RescaleSlope="77777", RescaleIntercept="0").replace(
            b"77777 ", b"1,0000"
        ),
        "INVERSE of MONOCHROME2": file(PresentationLUTShape="INVERSE"),
        "INVERSE of MONOCHROME1": file(
            PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
        ),
        "IDENTITY of MONOCHROME1": file(
            PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY"
        ),
        "no preamble": file()[132:],
        "bare implicit": unlabelled(preamble=False, implicit=True),
        "bare explicit": unlabelled(preamble=False, implicit=False),
        "preamble, no meta": unlabelled(preamble=True, implicit=True),
        "deflated": file(syntax=UID.DeflatedExplicitVRLittleEndian),
        "big endian": file(syntax=UID.ExplicitVRBigEndian),
        "big endian 8": file(GREY8, syntax=UID.ExplicitVRBigEndian),
        "high bit 15 of 12": file(HighBit=15),
        "high bit 15 of 12, moved": file(GREY12 << 4, HighBit=15),
        "high bit 15 of 12, either": file(ramp(0, 200) << 4, HighBit=15),
        "values of 16 bits in 12": file(ramp(100, 65000)),
        "values of 14 bits in 12, window": file(
            deep, WindowCenter="8192", WindowWidth="16384"
        ),
        "values of 10 bits in 16": file(ramp(10, 1000), 16),
        "j2k of 16 bits in 12": stream(_j2k(deep), "JPEG2000Lossless", 12),
        "j2k of 16 bits with 12 used": stream(_j2k(GREY12), "JPEG2000Lossless", 12),
        "j2k of 8 bits in 16": stream(_j2k(GREY8), "JPEG2000Lossless", 16),
        "j2k of 8 bits in 12": stream(_j2k(GREY8), "JPEG2000Lossless", 12),
        "jpeg of 8 bits in 12": stream(_jpeg(), "JPEGBaseline8Bit", 12),
        "jpeg in 16 allocated": stream(_jpeg(), "JPEGBaseline8Bit", 8),
        "lossless jpeg of 8 bits": stream(lossless8, "JPEGLosslessSV1", 8, 8),
        "lossless jpeg of 12 bits": stream(
            lossless_jpeg_files.encode(GREY12, 12), "JPEGLossless", 12
        ),
        "extended jpeg of 12 bits": stream(
            _jpeg().replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c"),
            "JPEGExtended12Bit",
            12,
        ),
        "baseline called lossless": stream(_jpeg(), "JPEGLosslessSV1", 8, 8),
        "baseline called extended": stream(_jpeg(), "JPEGExtended12Bit", 8, 8),
        "baseline called explicit": file(GREY8, PixelData=encapsulated),
        "pixels 2 to 1": file(PixelAspectRatio=[2, 1]),
        "pixels 1 to 1": file(PixelAspectRatio=[1, 1], PixelSpacing=[0.14, 0.1401]),
        "spacing oblong": file(ImagerPixelSpacing=[0.1, 0.2]),
        "spacing of one value": file(PixelSpacing="0.1"),
        "padding empty": file(extra=[(padding, "US", None)]),
        "padding of two values": file(extra=[(padding, "US", [0, 0])]),
        "padding 65535": file(extra=[(padding, "US", 65535)]),
        "padding negative": file(extra=[(padding, "SS", -2000)]),
        "no samples per pixel": file(GREY8, without=["SamplesPerPixel"]),
        "no sign": file(without=["PixelRepresentation"], bits=13),
        "no sign, top bit set": file(without=["PixelRepresentation"]),
        "no high bit": file(without=["HighBit"]),
        "no photometric": file(without=["PhotometricInterpretation"]),
        "photometric in small letters": file(PhotometricInterpretation="monochrome2"),
        "frames empty": file(NumberOfFrames=""),
        "frames 0": file(NumberOfFrames="0"),
        "charset unknown": file(SpecificCharacterSet="ISO_IR 100").replace(
            b"ISO_IR 100", b"ISO_IR 999"
        ),
        "bytes after the end": file() + bytes(4096),
        "more pixels than a frame": file(GREY8, PixelData=longer),
        "called signed": file(ramp(100, 65000), 16, PixelRepresentation=1),
        "signed": file(
            ramp(-1900, 1900, np.int16).view(np.uint16) & 0xFFF, PixelRepresentation=1
        ),
        "32 bits": file(GREY12.astype(np.uint32), 32),
        "pixels as UN": file().replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00UN"),
        "rows as SS": file().replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00SS"),
    }
