import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import rle_frames

# Two segments of 6 pixels: a run of 4 and a literal of 2; a literal of 6.
ONE, TWO = b"\xfd\x07\x01\x08\x09\0", b"\x05abcdef\0"


def stream(*segments, count=None, places=None):
    if places is None:
        places, place = [], 64
        for segment in segments:
            places.append(place)
            place += len(segment)
    words = [len(segments) if count is None else count, *places]
    table = b"".join(word.to_bytes(4, "little") for word in words)
    return table.ljust(64, b"\0") + b"".join(segments)


def test_segments_that_hold_all_pixels():
    rle_frames.check(stream(ONE), 1, 6)
    rle_frames.check(stream(ONE, TWO), 2, 6)
    rle_frames.check(stream(b"\x80" + ONE[:-1]), 1, 6)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        stream(ONE)[:40],
        stream(ONE[:-2]),
        stream(ONE[:3]),
        stream(b"\xfc" + ONE[1:]),
        stream(b"\xfe" + ONE[1:]),
        stream(ONE + b"\0"),
        stream(ONE[:-1] + b"\1"),
        stream(ONE, TWO),
        stream(ONE, count=2),
        stream(b"\0\0" + ONE, places=[66]),
        stream(ONE, places=[64, 64]),
    ],
)
def test_all_others_are_refused(damaged):
    with pytest.raises(InputError) as e:
        rle_frames.check(damaged, 1, 6)
    assert e.value.code == "DCM_DAMAGED"


def test_segments_in_a_wrong_order():
    for places in ([64, 64], [70, 64], [64, 60]):
        with pytest.raises(InputError):
            rle_frames.check(stream(ONE, TWO, places=places), 2, 6)
