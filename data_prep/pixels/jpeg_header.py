"""Reads what a JPEG file says before its pixels, without decoding.

Source: ITU-T T.81, annex B; JFIF 1.02; CIPA DC-007 (multi-picture format).
"""

import dataclasses
import struct
from collections.abc import Iterator

from data_prep.core.errors import InputError
from data_prep.pixels import exif

SIGNATURE = b"\xff\xd8\xff"
_FIX = "get the file again from its source, or remove it"
_END, _SCAN = 0xD9, 0xDA
# Start-of-frame markers; C4, C8 and CC are none.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LOSSLESS = 0xC3
_HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_ALONE = (0x01, *range(0xD0, 0xD8))
_NUMBER_OF_IMAGES = 0xB001


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """The facts of a JPEG file.

    Attributes:
      width: in pixels.
      height: in pixels.
      bits: of a sample.
      process: last byte of the start-of-frame marker, 0xC0 for baseline.
      channels: 1, 3 or 4.
      density: horizontal and vertical density of JFIF, or None.
      exif: the TIFF bytes of its EXIF, or None.
      pictures: how many pictures the file says that it holds.
    """

    width: int
    height: int
    bits: int
    process: int
    channels: int
    density: tuple[int, int] | None
    exif: bytes | None
    pictures: int

    @property
    def is_lossless(self) -> bool:
        """Whether it codes differences of pixels."""
        return self.process == _LOSSLESS

    def odd_process(self) -> str:
        """Returns why few programs decode this file, '' for the usual kind."""
        if self.process in _HIERARCHICAL:
            return "a hierarchical JPEG"
        if self.process > 0xC8:
            return "a JPEG with arithmetic coding"
        if self.bits != 8:
            lossless = "lossless " * self.is_lossless
            return f"a {lossless}JPEG of {self.bits} bits"
        return ""


def parse(data: bytes) -> Header:
    """Reads the segments before the first scan.

    Raises:
      InputError: cut short, or no JPEG.
    """
    frame = density = tags = None
    pictures = 1
    for marker, body in _segments(data):
        if marker in _FRAMES and frame is None:
            frame = (marker, body)
        elif marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            density = struct.unpack(">HH", body[8:12])
        elif marker == 0xE1 and body.startswith(b"Exif\0\0") and tags is None:
            tags = body[6:]
        elif marker == 0xE2 and body.startswith(b"MPF\0"):
            pictures = exif.value(body[4:], _NUMBER_OF_IMAGES) or 1
    if frame is None or len(frame[1]) < 6:
        raise _damaged("it has no frame header")
    bits, height, width, channels = struct.unpack(">BHHB", frame[1][:6])
    if not (height and width):
        raise _damaged("it has no pixel")
    return Header(
        width=width,
        height=height,
        bits=bits,
        process=frame[0],
        channels=channels,
        density=density,
        exif=tags,
        pictures=pictures,
    )


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields (marker, contents) up to the first scan."""
    place = 2
    while True:
        while data[place : place + 2] == b"\xff\xff":
            place += 1
        marker = data[place : place + 2]
        if len(marker) < 2:
            raise InputError("IMG_TRUNCATED", "the file is cut short", fix=_FIX)
        if marker[0] != 0xFF:
            raise _damaged("a marker is missing")
        if marker[1] in (_END, _SCAN):
            return
        place += 2
        if marker[1] in _ALONE:
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        body = data[place + 2 : place + length]
        if length < 2 or len(body) < length - 2:
            raise InputError("IMG_TRUNCATED", "the file is cut short", fix=_FIX)
        yield marker[1], body
        place += length


def _damaged(reason: str) -> InputError:
    return InputError("IMG_DAMAGED", f"the JPEG is damaged: {reason}", fix=_FIX)
