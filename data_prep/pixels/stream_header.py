"""Reads what a compressed image stream says of itself, without decoding it."""

import dataclasses
from typing import Literal

# Start of frame: baseline, extended, progressive and lossless JPEG, and JPEG-LS.
_FRAMES = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "jpeg", 0xC3: "lossless", 0xF7: "jpeg-ls"}
_SOI, _SOS = 0xD8, 0xDA
_SIZ = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  "


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamHeader:
    """The header of a stream.

    Attributes:
      kind: what decodes it; "jpeg" has a discrete cosine transform.
      shape: height and width, in pixels.
      channels: number of components.
      bits: precision of a sample, 1 to 38.
      signed: whether samples are signed, which only JPEG 2000 can say.
    """

    kind: Literal["jpeg", "lossless", "jpeg-ls", "jpeg2000"]
    shape: tuple[int, int]
    channels: int
    bits: int
    signed: bool


def read(stream: bytes) -> StreamHeader | None:
    """Returns the header of a stream; None if it is none of the four kinds.

    The fields are those of ITU-T T.81 B.2.2, T.87 C.2.2 and T.800 A.5.1.
    """
    try:
        if stream[:2] == b"\xff\xd8":
            return _jpeg(stream)
        if stream.startswith(_JP2):
            return _jpeg2000(stream[stream.index(_SIZ) :])
        return _jpeg2000(stream) if stream.startswith(_SIZ) else None
    except (IndexError, ValueError):
        return None  # It ends within its header.


def _jpeg(stream: bytes) -> StreamHeader | None:
    place = 2
    while stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == 0xFF:  # A fill byte.
            place += 1
            continue
        if marker in _FRAMES:
            body = stream[place + 4 : place + 10]
            return StreamHeader(
                kind=_FRAMES[marker],
                shape=(_int(body[1:3]), _int(body[3:5])),
                channels=body[5],
                bits=body[0],
                signed=False,
            )
        if marker in (_SOI, _SOS):
            return None
        place += 2 + _int(stream[place + 2 : place + 4])
    return None


def _jpeg2000(stream: bytes) -> StreamHeader:
    # The area on the grid begins at an offset, which the standard allows.
    right, bottom, left, top = (_int(stream[i : i + 4]) for i in (8, 12, 16, 20))
    return StreamHeader(
        kind="jpeg2000",
        shape=(bottom - top, right - left),
        channels=_int(stream[40:42]),
        bits=(stream[42] & 0x7F) + 1,
        signed=bool(stream[42] & 0x80),
    )


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")
