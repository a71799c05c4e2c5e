"""Tells whether encoded pixels are valid on their own terms, without our readers."""

import gzip
import os
import tempfile
import zlib

import cv2
import numpy as np

from tests import dicom_files
from tests import raster_files
from tests.mutation.seeds import Seed
from tests.mutation.seeds import original


def is_valid(seed: Seed, data: bytes, changed: tuple[int, int]) -> bool:
    """Returns whether the encoded pixels of a mutant are valid on their own terms."""
    grown = len(data) - len(seed.data)
    inside = [i for i, (a, b) in enumerate(seed.parts) if a <= changed[0] <= b]
    if grown and (not inside or changed[1] > seed.parts[inside[0]][1]):
        return False  # Bytes are lost or inserted across the border of the pixels.
    pieces, shift = [], 0
    for index, (start, stop) in enumerate(seed.parts):
        longer = grown if [index] == inside[:1] else 0
        pieces.append(data[start + shift : stop + shift + longer])
        shift += longer
    whole = b"".join(pieces)
    return CODECS[seed.codec](whole, seed)


def _says_nothing(stream: bytes) -> bool:
    """Returns whether OpenCV decodes a stream without any word on stderr."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            array = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            array = None
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        lines = [line for line in said.read().splitlines() if line.strip()]
    # Raw JPEG 2000 has no place for a colour space.
    warned = any(b"color space" not in line for line in lines)
    return array is not None and not warned


def _is_whole(whole: bytes, seed: Seed) -> bool:
    return len(whole) == sum(stop - start for start, stop in seed.parts)


def _is_jpeg(whole: bytes, seed: Seed) -> bool:
    return _says_nothing(whole)


def _is_jpeg2000(whole: bytes, seed: Seed) -> bool:
    """Walks the tile-parts to the end of the codestream (ISO 15444-1, annex A)."""
    if not _says_nothing(whole):
        return False
    place = 2
    while whole[place : place + 2] != b"\xff\x90":
        place += 2 + int.from_bytes(whole[place + 2 : place + 4], "big")
        if place >= len(whole):
            return False
    while whole[place : place + 2] == b"\xff\x90":
        length = int.from_bytes(whole[place + 6 : place + 10], "big")
        if length < 14:
            return length == 0 and whole.rstrip(b"\0").endswith(b"\xff\xd9")
        place += length
    return whole[place:].rstrip(b"\0") == b"\xff\xd9"


def _is_rle(whole: bytes, seed: Seed) -> bool:
    """Counts what every segment unpacks to (DICOM PS3.5, annex G)."""
    rows, columns = original(seed.name).shape
    header = np.frombuffer(whole[:64], "<u4")
    count = int(header[0])
    if not 1 <= count <= 2 or header[1] != 64 or header[1 + count :].any():
        return False
    places = [*header[1 : 1 + count].tolist(), len(whole)]
    for start, stop in zip(places, places[1:], strict=False):
        segment, place, unpacked = whole[start:stop], 0, 0
        while unpacked < rows * columns and place < len(segment):
            control = segment[place]
            length = 0 if control == 128 else min(control + 1, 257 - control)
            length = control + 1 if control < 128 else length
            unpacked += length
            place += 1 + (control + 1 if control < 128 else control != 128)
        if place > len(segment) or unpacked != rows * columns:
            return False
        if len(segment) - place > 1:
            return False
    return True


def _is_deflate(whole: bytes, seed: Seed) -> bool:
    """Returns whether a dataset inflates to as many bytes as before."""
    (start, stop), *_ = seed.parts
    inflated = [zlib.decompressobj(-zlib.MAX_WBITS) for _ in range(2)]
    try:
        old = inflated[0].decompress(seed.data[start:stop])
        new = inflated[1].decompress(whole)
    except zlib.error:
        return False
    return inflated[1].eof and len(old) == len(new)


def _is_jpeg_ls(whole: bytes, seed: Seed) -> bool:
    """Encodes the pixels again: only one stream stands for them (ISO 14495-1)."""
    import jpeg_ls

    try:
        pixels = jpeg_ls.decode(np.frombuffer(whole.rstrip(b"\0"), np.uint8))
    except (RuntimeError, ValueError):
        return False
    again = jpeg_ls.encode(np.ascontiguousarray(pixels))
    again = again.tobytes() if isinstance(again, np.ndarray) else bytes(again)
    return again.rstrip(b"\0") == whole.rstrip(b"\0")


def _is_lossless_jpeg(whole: bytes, seed: Seed) -> bool:
    """Encodes the pixels again, as this project's only writer of this kind does."""
    side = original(seed.name).shape[0]
    end = whole.rfind(b"\xff\xd9")
    scan = seed_scan(whole[:end])
    reference = raster_files.lossless_jpeg(dicom_files.picture(side), 8)
    if scan is None or whole[: whole.find(_SCAN)] != reference[: reference.find(_SCAN)]:
        return False
    return raster_files.reads_as_lossless(scan, side * side)


_SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00"


def seed_scan(head: bytes) -> bytes | None:
    """Returns the entropy-coded bytes of a lossless JPEG of raster_files, or None."""
    place = head.find(_SCAN)
    return None if place < 0 else head[place + len(_SCAN) :]


def _has_right_checksums(whole: bytes, seed: Seed) -> bool:
    """Adds up every chunk and row of a PNG."""
    place, packed = 8, b""
    while place + 12 <= len(whole):
        length = int.from_bytes(whole[place : place + 4], "big")
        body = whole[place + 4 : place + 8 + length]
        if zlib.crc32(body) != int.from_bytes(
            whole[place + 8 + length : place + 12 + length], "big"
        ):
            return False
        packed += body[4:] if body.startswith(b"IDAT") else b""
        place += 12 + length
        if body.startswith(b"IEND"):
            break
    try:
        zlib.decompress(packed)
    except zlib.error:
        return False
    return _says_nothing(whole)


def _is_gzip(whole: bytes, seed: Seed) -> bool:
    try:
        return bool(gzip.decompress(whole))
    except (OSError, EOFError, zlib.error):
        return False


CODECS = {
    "native": _is_whole,
    "jpeg": _is_jpeg,
    "jpeg-lossless": _is_lossless_jpeg,
    "jpeg-ls": _is_jpeg_ls,
    "jpeg2000": _is_jpeg2000,
    "rle": _is_rle,
    "deflate": _is_deflate,
    "png": _has_right_checksums,
    "gzip": _is_gzip,
}
