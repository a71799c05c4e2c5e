"""Sound files of every encoding that is read here, and how they are read."""

import dataclasses
import functools
import gzip
import importlib.util
import zlib

import numpy as np

from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from data_prep.pixels import mask_files
from data_prep.pixels import raster
from tests import dicom_files
from tests import raster_files

# Why the mutants of a codec can be valid and have other pixels.
REASONS = {
    "native": "uncompressed values have no check",
    "jpeg": "Huffman codes, tables or coefficients became others that are valid",
    "jpeg-lossless": "differences became others that are valid",
    "jpeg-ls": "differences became others that are valid",
    "jpeg2000": "bit planes have no check",
    "rle": "a literal or repeated value has no check",
    "deflate": "DICOM's DEFLATE has no check sum",
    "png": "none: every chunk has a check sum",
    "gzip": "none: the whole has a check sum",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seed:
    """A sound file.

    Attributes:
      name: of its encoding.
      kind: "dicom", "png", "jpeg" or "mask".
      codec: a key of REASONS.
      data: its bytes.
      parts: (start, stop) in its bytes of each piece of the encoded pixels.
    """

    name: str
    kind: str
    codec: str
    data: bytes
    parts: tuple[tuple[int, int], ...]


def read(seed: Seed, data: bytes) -> np.ndarray:
    """Reads a file as a conversion does."""
    if seed.kind == "mask":
        return mask_files.read(data)
    if seed.kind == "gzip":
        # As the source's file would be read.
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as e:
            raise InputError("SRC_DAMAGED_GZIP", "damaged", fix="get it again") from e
    if seed.kind in ("dicom", "gzip"):
        return dicom.read_pixels(data)
    return raster.read_pixels(data)


@functools.cache
def original(name: str) -> np.ndarray:
    """Returns the pixels of a seed."""
    return read(seeds()[name], seeds()[name].data)


@functools.cache
def seeds() -> dict[str, Seed]:
    """Returns {name: a sound file} of every encoding that is read here."""
    found = {}
    for name, data, codec in _dicoms():
        parts = _pixel_parts(data, codec)
        found[name] = Seed(name=name, kind="dicom", codec=codec, data=data, parts=parts)
    for name, data in _rasters().items():
        kind = name.split()[0]
        codec = "png" if kind in ("mask", "png") else "jpeg"
        codec += "-lossless" * name.endswith("lossless")
        parts = ((0, len(data)),)
        found[name] = Seed(name=name, kind=kind, codec=codec, data=data, parts=parts)
    packed = gzip.compress(found["dicom native8"].data, mtime=0)
    found["gzip of a dicom"] = Seed(
        name="gzip of a dicom",
        kind="gzip",
        codec="gzip",
        data=packed,
        parts=((0, len(packed)),),
    )
    return found


def _dicoms():
    """Yields (name, bytes, codec)."""
    uid = dicom.pydicom.uid
    codecs = {"rle": "rle", "jpeg2000": "jpeg2000", "deflated": "deflate"}
    codecs |= {"jpeg": "jpeg", "jpeg_fragments": "jpeg"}
    for name, data in dicom_files.seeds(64).items():
        yield f"dicom {name}", data, codecs.get(name, "native")
    grey = dicom_files.picture(96)
    progressive = dicom_files.compressed(grey, format="JPEG", progressive=True)
    yield (
        "dicom jpeg_128",
        dicom_files.as_bytes(dicom_files.dataset(128)),
        "jpeg",
    )
    deep = dicom_files.compressed(
        grey.astype(np.uint16) * 16, format="JPEG2000", irreversible=False, no_jp2=True
    )
    fields = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    j2k = dicom_files.framed(deep, side=96, syntax=uid.JPEG2000Lossless, **fields)
    yield "dicom jpeg2000_16", dicom_files.as_bytes(j2k), "jpeg2000"
    side = 64
    others = {"dicom progressive": (progressive, uid.JPEGBaseline8Bit, "jpeg", 96)}
    lossless = raster_files.lossless_jpeg(dicom_files.picture(side), 8)
    others["dicom jpeg_lossless"] = (
        lossless,
        uid.JPEGLosslessSV1,
        "jpeg-lossless",
        side,
    )
    if importlib.util.find_spec("jpeg_ls"):
        import jpeg_ls

        stream = bytes(jpeg_ls.encode(dicom_files.picture(side)))
        others["dicom jpeg_ls"] = (stream, uid.JPEGLSLossless, "jpeg-ls", side)
    for name, (stream, syntax, codec, size) in others.items():
        data = dicom_files.as_bytes(
            dicom_files.framed(stream, side=size, syntax=syntax)
        )
        if _is_read(data):
            yield name, data, codec


def _is_read(data: bytes) -> bool:
    try:
        dicom.read_pixels(data)
    except InputError as e:
        if e.code == "DCM_NO_DECODER":
            return False
        raise
    return True


def _rasters() -> dict[str, bytes]:
    grey = dicom_files.picture(64)
    large = dicom_files.picture(128)
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 40:55] = 255
    mask[15:20, 45:50] = 0
    rgb = np.dstack([grey] * 3)
    encoded = raster_files.encoded
    return {
        "png 8 bits": encoded(large),
        "png 16 bits": encoded(grey.astype(np.uint16) * 257),
        "png of colour": encoded(rgb),
        "mask of 8 bits": encoded(mask),
        "mask of 1 bit": encoded(mask > 0),
        "jpeg film": encoded(large, "JPEG", quality=90),
        "jpeg film, lossless": raster_files.lossless_jpeg(grey, 8),
        "jpeg progressive film": encoded(grey, "JPEG", progressive=True),
        "jpeg film of colour": encoded(rgb, "JPEG", quality=90),
        "jpeg film with restarts": encoded(grey, "JPEG", restart_marker_rows=1),
    }


def _pixel_parts(data: bytes, codec: str) -> tuple[tuple[int, int], ...]:
    """Returns where the encoded pixels of a DICOM file are."""
    if codec == "deflate":
        return ((144 + int.from_bytes(data[140:144], "little"), len(data)),)
    with dicom.pydicom.filebase.DicomBytesIO(data) as file:
        element = dicom.pydicom.dcmread(file).get_item("PixelData")
    place, length = element.value_tell, len(element.value)
    if codec == "native":
        return ((place, place + length),)
    parts = []
    end = data.index(b"\xfe\xff\xdd\xe0\0\0\0\0", place)
    while place < end:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        parts.append((place + 8, place + 8 + length))
        place += 8 + length
    return tuple(parts[1:])  # The first item is the table of offsets.
