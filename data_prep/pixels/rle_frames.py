"""Checks the streams of RLE Lossless, which have no check sum.

pydicom decodes them and takes what fits; a hole in a stream moves all pixels behind it
and shows only in how many there are. Source: DICOM PS3.5, annex G.
"""

from data_prep.core.errors import InputError

_HEADER = 64
_NOTHING = 128


def check(stream: bytes, num_segments: int, num_pixels: int) -> None:
    """Refuses a frame whose segments do not unpack to exactly all pixels.

    Args:
      stream: one frame, with its header.
      num_segments: bytes of a pixel, of all its samples.
      num_pixels: of the frame.

    Raises:
      InputError: the header or a segment is damaged or cut short.
    """
    words = [int.from_bytes(stream[k : k + 4], "little") for k in range(0, _HEADER, 4)]
    places = [*words[1 : 1 + num_segments], len(stream)]
    if (
        len(stream) < _HEADER
        or words[0] != num_segments
        or places[0] != _HEADER
        or any(words[1 + num_segments :])
    ):
        raise _damaged("the table of an RLE stream is wrong")
    for start, stop in zip(places, places[1:], strict=False):
        _check_segment(stream[start:stop], num_pixels)


def _check_segment(segment: bytes, num_pixels: int) -> None:
    place = unpacked = 0
    size = len(segment)
    while unpacked < num_pixels and place < size:
        control = segment[place]
        if control < _NOTHING:
            unpacked += control + 1
            place += control + 2
        elif control > _NOTHING:
            unpacked += 257 - control
            place += 2
        else:
            place += 1
    # One byte may follow, which makes the length even.
    if unpacked != num_pixels or place > size or segment[place:] not in (b"", b"\0"):
        raise _damaged("an RLE stream does not hold exactly the pixels of the image")


def _damaged(reason: str) -> InputError:
    return InputError(
        "DCM_DAMAGED", reason, fix="get the file again from its source, or remove it"
    )
