"""Small valid DICOM files in the encodings that the converter reads, as bytes."""

import io
import pathlib
import tempfile

import numpy as np
import PIL.Image

from data_prep.phantom import dicom_writer
from data_prep.pixels import dicom

pydicom = dicom.pydicom
NATIVE = pydicom.uid.ExplicitVRLittleEndian


def picture(side: int) -> np.ndarray:
    """Returns a smooth picture with some noise, [side, side] uint8."""
    rng = np.random.default_rng(side)
    x = np.linspace(0, 200, side)
    return np.add.outer(x / 2, x / 2).astype(np.uint8) + rng.integers(
        0, 40, (side, side), np.uint8
    )


def dataset(side: int = 24) -> "pydicom.Dataset":
    """Returns a file like the competition's: 8-bit grey, JPEG Baseline."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "x.dcm")
        dicom_writer.write_jpeg_baseline(
            path,
            picture(side),
            patient_id="a-patient",
            study_uid="2.25.1",
            series_uid="2.25.2",
            sop_uid="2.25.3",
        )
        return pydicom.dcmread(io.BytesIO(path.read_bytes()))


def native(pixels: np.ndarray, *, bits: int | None = None, syntax=NATIVE, **fields):
    """Returns a file with uncompressed `pixels`."""
    data = dataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    stored = pixels if syntax.is_little_endian else pixels.byteswap()
    data.PixelData = stored.tobytes() + b"\0" * (pixels.nbytes % 2)
    data["PixelData"].VR = "OW" if data.BitsAllocated == 16 else "OB"
    for name, value in fields.items():
        setattr(data, name, value)
    return data


def framed(*fragments: bytes, side: int = 24, syntax=None, **fields):
    """Returns a file whose only frame consists of `fragments`, unchanged."""
    data = dataset(side)
    if syntax:
        data.file_meta.TransferSyntaxUID = syntax
    items = [b"\xfe\xff\x00\xe0\0\0\0\0"]
    for fragment in fragments:
        even = fragment + b"\0" * (len(fragment) % 2)
        items.append(b"\xfe\xff\x00\xe0" + len(even).to_bytes(4, "little") + even)
    data.PixelData = b"".join(items)
    data["PixelData"].VR = "OB"
    for name, value in fields.items():
        setattr(data, name, value)
    return data


def compressed(pixels: np.ndarray, **options) -> bytes:
    """Returns the pixels as Pillow encodes them."""
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, **options)
    return stream.getvalue()


def as_bytes(data: "pydicom.Dataset") -> bytes:
    """Returns the file's bytes, unchecked."""
    stream = io.BytesIO()
    syntax = data.file_meta.TransferSyntaxUID
    known = syntax.is_transfer_syntax and not syntax.is_private
    pydicom.dcmwrite(
        stream,
        data,
        implicit_vr=known and syntax.is_implicit_VR,
        little_endian=not known or syntax.is_little_endian,
    )
    return stream.getvalue()


def seeds(side: int) -> dict[str, bytes]:
    """Returns {encoding: a valid file in it}."""
    uid = pydicom.uid
    grey = picture(side)
    deep = grey.astype(np.uint16) * 16
    rle = native(grey)
    rle.compress(uid.RLELossless, grey, encoding_plugin="pydicom")
    j2k = compressed(grey, format="JPEG2000", irreversible=False, no_jp2=True)
    jpeg = compressed(grey, format="JPEG", quality=92)
    half = len(jpeg) // 4 * 2
    nested = native(grey)
    for _ in range(3):
        inner = pydicom.Dataset()
        inner.ReferencedStudySequence = nested.get("ReferencedStudySequence", [])
        inner.add_new(0x00091010, "UN", b"private!")
        nested.ReferencedStudySequence = [inner]
    window = {"WindowCenter": ["2000", "9"], "WindowWidth": ["3000", "9"]}
    files = {
        "jpeg": dataset(side),
        "jpeg_fragments": framed(jpeg[:half], jpeg[half:], side=side),
        "native8": native(grey),
        "native16": native(deep, bits=12, **window),
        "monochrome1": native(
            deep,
            bits=12,
            PhotometricInterpretation="MONOCHROME1",
            RescaleSlope="2",
            RescaleIntercept="-9",
        ),
        "nested": nested,
        "rle": rle,
        "jpeg2000": framed(j2k, side=side, syntax=uid.JPEG2000Lossless),
        "deflated": native(grey, syntax=uid.DeflatedExplicitVRLittleEndian),
        "implicit": native(grey, syntax=uid.ImplicitVRLittleEndian),
        "big_endian": native(deep, syntax=uid.ExplicitVRBigEndian),
    }
    return {name: as_bytes(data) for name, data in files.items()}
