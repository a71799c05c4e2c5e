"""Reads the chunks of a PNG file and checks everything that the format can prove.

Pillow does not compare the check sums of IDAT chunks and stops once it has enough
pixels, so a damaged file can pass for a sound one. Source: the Portable Network
Graphics (PNG) Specification, third edition, sections 5, 7, 8, 10 and 11.
"""

import dataclasses
import struct
import zlib
from collections.abc import Iterator

from data_prep.core.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
_DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}
# First column, first row, step in x and step in y of the seven Adam7 passes.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
# What pixels are made from. Other chunks are checked and then left out.
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_FIX = "get the file again from its source, or remove it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Png:
    """The chunks of a file whose every check sum is right.

    Attributes:
      width: in pixels.
      height: in pixels.
      depth: bits of a sample.
      colour: GREY, RGB, PALETTE, GREY_ALPHA or RGB_ALPHA.
      interlaced: whether the pixels come in seven passes.
      chunks: (name, data) of all chunks, in their order.
    """

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    chunks: tuple[tuple[bytes, bytes], ...]

    def first(self, name: bytes) -> bytes | None:
        """Returns the data of the first chunk of a name, or None."""
        return next((data for n, data in self.chunks if n == name), None)


def parse(data: bytes) -> Png:
    """Reads a file up to IEND; what follows is ignored.

    Raises:
      InputError: cut short, a check sum is wrong, or chunks contradict the format.
    """
    chunks = tuple(_chunks(data))
    names = [name for name, _ in chunks]
    header = chunks[0][1]
    if names[0] != b"IHDR" or names.count(b"IHDR") != 1 or len(header) != 13:
        raise _damaged("the header is not one IHDR chunk")
    width, height, depth, colour, packing, filtering, interlace = struct.unpack(
        ">IIBBBBB", header
    )
    if (
        depth not in _DEPTHS.get(colour, ())
        or (packing, filtering) != (0, 0)
        or interlace > 1
        or not (0 < width < 1 << 31 and 0 < height < 1 << 31)
    ):
        raise _damaged("the header has impossible values")
    places = [i for i, name in enumerate(names) if name == b"IDAT"]
    if not places or places[-1] - places[0] != len(places) - 1:
        raise _damaged("the pixels are missing or in several places")
    if colour == PALETTE and b"PLTE" not in names[: places[0]]:
        raise _damaged("the palette is missing")
    unknown = {n for n in names if n[:1].isupper()} - {*_PIXELS}
    if unknown:
        raise _damaged("a chunk that decoders must know is unknown")
    return Png(
        width=width,
        height=height,
        depth=depth,
        colour=colour,
        interlaced=bool(interlace),
        chunks=chunks,
    )


def pixels_alone(png: Png) -> bytes:
    """Returns a file of the chunks that make pixels, after checking their stream.

    Raises:
      InputError: the compressed pixels are damaged, too few or too many.
    """
    packed = b"".join(data for name, data in png.chunks if name == b"IDAT")
    size = _inflated_size(png)
    inflater = zlib.decompressobj()
    try:
        # One byte more than there should be: its check sum comes after the last.
        rows = inflater.decompress(packed, size + 1)
    except zlib.error as e:
        raise _damaged("the compressed pixels are damaged") from e
    if len(rows) != size or not inflater.eof:
        raise _damaged("the pixels are cut short or too many")
    kept = (_chunk(n, d) for n, d in png.chunks if n in _PIXELS and n != b"IDAT")
    *first, end = kept
    return b"".join([SIGNATURE, *first, _chunk(b"IDAT", packed), end])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(SIGNATURE)
    while True:
        head = data[place : place + 8]
        if len(head) < 8:
            raise _cut()
        length, name = struct.unpack(">I4s", head)
        body = data[place + 8 : place + 8 + length]
        checksum = data[place + 8 + length : place + 12 + length]
        if len(checksum) < 4:
            raise _cut()
        if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(checksum, "big"):
            raise _damaged("the check sum of a chunk is wrong")
        yield name, body
        if name == b"IEND":
            return
        place += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(name))
    return struct.pack(">I", len(data)) + name + data + checksum.to_bytes(4, "big")


def _inflated_size(png: Png) -> int:
    """Returns the bytes of all rows, each with the byte that names its filter."""
    bits = png.depth * _CHANNELS[png.colour]
    passes = _ADAM7 if png.interlaced else ((0, 0, 1, 1),)
    size = 0
    for x, y, step_x, step_y in passes:
        columns = -(-(png.width - x) // step_x)
        rows = -(-(png.height - y) // step_y)
        if columns > 0 and rows > 0:
            size += rows * (1 + -(-columns * bits // 8))
    return size


def _cut() -> InputError:
    return InputError("IMG_TRUNCATED", "the file is cut short", fix=_FIX)


def _damaged(reason: str) -> InputError:
    return InputError("IMG_DAMAGED", reason, fix=_FIX)
