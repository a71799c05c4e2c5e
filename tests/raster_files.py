"""PNG and JPEG files of every kind, also of kinds that no installed encoder writes."""

import io
import struct
import zlib

import numpy as np
import PIL.Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def encoded(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """Returns the pixels as Pillow encodes them."""
    return saved(PIL.Image.fromarray(array), kind, **options)


def saved(image: PIL.Image.Image, kind: str = "PNG", **options) -> bytes:
    """Returns the bytes of a file that Pillow writes."""
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    rows: bytes,
    *,
    interlaced: bool = False,
) -> bytes:
    """Returns a PNG whose check sums are right, whatever its rows hold."""
    facts = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return _SIGNATURE + chunk(b"IHDR", facts) + pixels + chunk(b"IEND", b"")


def png_of(array: np.ndarray, colour: int) -> bytes:
    """Returns a PNG of [H, W, C] uint8 or uint16."""
    height, width = array.shape[:2]
    return png(width, height, 8 * array.dtype.itemsize, colour, png_rows(array))


def png_rows(array: np.ndarray) -> bytes:
    """Returns the unfiltered rows of [H, W] or [H, W, C]."""
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big_endian)


def interlaced_rows(side: int, depth: int, rng) -> bytes:
    """Returns random rows of the seven passes of a grey [side, side]."""
    # First column and row of a pass, and its steps to the next ones.
    passes = [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4)]
    passes += [(0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)]
    rows = b""
    for left, across, top, down in passes:
        num_bytes = -(-len(range(left, side, across)) * depth // 8)
        if num_bytes:
            rows += b"".join(
                b"\0" + rng.bytes(num_bytes) for _ in range(top, side, down)
            )
    return rows


def chunk(name: bytes, data: bytes) -> bytes:
    """Returns one chunk."""
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def with_chunk(data: bytes, name: bytes, contents: bytes) -> bytes:
    """Puts a chunk behind the header of a PNG."""
    return data[:33] + chunk(name, contents) + data[33:]


def without_adler(data: bytes) -> bytes:
    """Takes the check sum of the rows away, and mends that of the chunk."""
    return _with_packed(data, lambda packed: packed[:-4])


def with_wrong_adler(data: bytes) -> bytes:
    """Spoils the check sum of the rows, and mends that of the chunk."""
    return _with_packed(data, lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]))


def _with_packed(data: bytes, change) -> bytes:
    place = data.index(b"IDAT")
    length = int.from_bytes(data[place - 4 : place], "big")
    packed = change(data[place + 4 : place + 4 + length])
    return data[: place - 4] + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def lossless_jpeg(array: np.ndarray, bits: int) -> bytes:
    """Encodes [H, W] of unsigned integers as JPEG Lossless, process 14, predictor 1.

    Source: ITU-T T.81, annex H. All 17 categories have codes of 5 bits.
    """
    height, width = array.shape
    values = array.astype(np.int64)
    predicted = np.zeros_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << bits - 1
    codes = []
    for difference in (values - predicted).ravel().tolist():
        category = abs(difference).bit_length()
        codes.append(format(category, "05b"))
        if category:
            low = difference if difference > 0 else difference + (1 << category) - 1
            codes.append(format(low, f"0{category}b"))
    text = "".join(codes)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    table = b"\0" + bytes([0] * 4 + [17] + [0] * 11) + bytes(range(17))
    frame = struct.pack(">BHHB", bits, height, width, 1) + b"\x01\x11\0"
    segments = (b"\xc3", frame), (b"\xc4", table), (b"\xda", b"\x01\x01\0\x01\0\0")
    head = b"".join(
        b"\xff" + marker + struct.pack(">H", len(body) + 2) + body
        for marker, body in segments
    )
    return b"\xff\xd8" + head + scan + b"\xff\xd9"


def reads_as_lossless(scan: bytes, num_pixels: int) -> bool:
    """Returns whether a scan of `lossless_jpeg` holds exactly so many differences."""
    if scan.replace(b"\xff\0", b"").count(b"\xff"):
        return False
    scan = scan.replace(b"\xff\0", b"\xff")
    text = bin(int.from_bytes(b"\1" + scan, "big"))[3:]
    place = 0
    for _ in range(num_pixels):
        code = text[place : place + 5]
        if len(code) < 5 or int(code, 2) > 16:
            return False
        place += 5 + int(code, 2)
    return len(text) - place in range(8)
