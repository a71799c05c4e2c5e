"""Decodes lossless JPEG of up to 16 bits (ITU-T T.81 annex H), and proves the result.

The decoder, libjpeg-turbo within imagecodecs, fills what a damaged stream lacks. The
code of an image is a function of its pixels and the stream's tables, though, so that
the pixels are coded again and compared with the stream bit by bit.
"""

import importlib.util

import numpy as np

from data_prep.core.errors import InputError

PACKAGE = "imagecodecs"
_FIX = "get the file again from its source, or remove it"
_ROWS_AT_ONCE = 64


def has_decoder() -> bool:
    """Returns whether the optional decoder is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def decode(stream: bytes) -> np.ndarray:
    """Decodes a grey stream of process 14, with any predictor.

    Returns:
      [H, W] uint8 up to 8 bits, else uint16.

    Raises:
      InputError: the decoder is missing, or the stream is damaged, cut short, or has
        several components, restarts or a point transform.
    """
    if not has_decoder():
        raise InputError(
            "DCM_NO_DECODER",
            "no decoder for lossless JPEG of more than 8 bits",
            fix=f"pip install {PACKAGE}",
        )
    import imagecodecs  # Optional, and heavy.

    try:
        code = _Code(stream)
        image = imagecodecs.jpeg8_decode(stream)
    # The last two: it ends within a table.
    except (RuntimeError, ValueError, IndexError, StopIteration) as e:
        raise _damaged() from e
    if image.ndim != 2 or not code.is_of(image):
        raise _damaged()
    return image


def check(stream: bytes, image: np.ndarray) -> None:
    """Refuses a stream that is not the code of [H, W] `image`.

    libjpeg gives no warning where a damaged scan ends a byte early. Streams with
    restarts, several tables or several components cannot be compared, and pass.

    Raises:
      InputError: the stream is damaged.
    """
    try:
        code = _Code(stream)
    except InputError as e:
        if e.code == "DCM_NO_DECODER":
            return
        raise
    if not code.is_of(image):
        raise _damaged()


class _Code:
    """The tables and the coded bits of a stream."""

    def __init__(self, stream: bytes):
        self._lengths: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._bits = 0
        place = 2
        while stream[place : place + 1] == b"\xff":
            marker, length = stream[place + 1], _int(stream[place + 2 : place + 4])
            body = stream[place + 4 : place + 2 + length]
            place += 2 + length
            if marker == 0xDA:
                self._scan(body, stream[place:])
                return
            self._segment(marker, body)
        raise _damaged()

    def _segment(self, marker: int, body: bytes) -> None:
        if marker == 0xC3:
            self._bits = body[0]
            if body[5] != 1:
                raise _unusual()
        elif marker == 0xC4:
            self._table(body)
        elif marker == 0xDD and any(body):
            raise _unusual()

    def _table(self, body: bytes) -> None:
        """Makes the codes of a Huffman table, as in annex C."""
        if body[0] or len(body) != 17 + sum(body[1:17]):
            raise _unusual()  # Another number, or several tables.
        code, symbols = 0, iter(body[17:])
        for length in range(1, 17):
            for _ in range(body[length]):
                symbol = next(symbols)
                self._lengths[symbol], self._codes[symbol] = length, code
                code += 1
            code <<= 1

    def _scan(self, body: bytes, rest: bytes) -> None:
        # One component, its table, predictor, and the point transform.
        if len(body) != 6 or body[0] != 1 or body[2] >> 4 or body[5]:
            raise _unusual()
        if body[3] not in _PREDICTORS:
            raise _damaged()
        self._predictor = body[3]
        end = rest.rfind(b"\xff\xd9")
        if end < 0 or rest[end + 2 :].strip(b"\0"):
            raise _damaged()
        plain = rest[:end].replace(b"\xff\0", b"\xfe")
        if b"\xff" in plain:
            raise _damaged()  # A marker within the code.
        self._coded = rest[:end].replace(b"\xff\0", b"\xff")

    def is_of(self, image: np.ndarray) -> bool:
        """Returns whether the stream is the code of `image`, to its last bit."""
        width = np.zeros(17, np.int64)
        prefix = np.zeros(17, np.int64)
        for symbol, length in self._lengths.items():
            if symbol > 16:
                return False
            width[symbol], prefix[symbol] = length, self._codes[symbol]
        # Six more bytes, so that each window of 48 bits lies within.
        coded = np.frombuffer(self._coded + bytes(6), np.uint8).astype(np.int64)
        place = 0
        for first in range(0, len(image), _ROWS_AT_ONCE):
            difference = self._differences(image, first)
            size = _bit_length(np.abs(difference))
            extra = np.where(size < 16, size, 0)
            tail = np.where(difference < 0, difference + (1 << extra) - 1, difference)
            value = (prefix[size] << extra) | np.where(extra, tail, 0)
            length = width[size] + extra
            ends = place + np.cumsum(length)
            if ends[-1] > 8 * len(self._coded) or not width[size].all():
                return False
            starts = ends - length
            byte = starts >> 3
            window = sum(coded[byte + i] << (40 - 8 * i) for i in range(6))
            found = (window >> (48 - (starts & 7) - length)) & ((1 << length) - 1)
            if (found != value).any():
                return False
            place = int(ends[-1])
        return 8 * len(self._coded) - place < 8

    def _differences(self, image: np.ndarray, first: int) -> np.ndarray:
        """Returns the differences that code some rows, -32767..32768 as in H.1.2.1."""
        rows = image[max(first - 1, 0) : first + _ROWS_AT_ONCE].astype(np.int64)
        if first == 0:
            rows = np.concatenate([np.zeros_like(rows[:1]), rows])
        above, here = rows[:-1], rows[1:]
        predicted = np.empty_like(here)
        left, corner, up = here[:, :-1], above[:, :-1], above[:, 1:]
        predicted[:, 1:] = _PREDICTORS[self._predictor](left, up, corner)
        predicted[:, 0] = above[:, 0]
        if first == 0:
            predicted[0, 1:] = here[0, :-1]
            predicted[0, 0] = 1 << (self._bits - 1)
        difference = (here - predicted) & 0xFFFF
        return np.where(difference > 32768, difference - 65536, difference).ravel()


_PREDICTORS = {
    1: lambda a, b, c: a,
    2: lambda a, b, c: b,
    3: lambda a, b, c: c,
    4: lambda a, b, c: a + b - c,
    5: lambda a, b, c: a + ((b - c) >> 1),
    6: lambda a, b, c: b + ((a - c) >> 1),
    7: lambda a, b, c: (a + b) >> 1,
}


def _bit_length(values: np.ndarray) -> np.ndarray:
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _damaged() -> InputError:
    return InputError(
        "DCM_DAMAGED", "the lossless JPEG stream is damaged or cut short", fix=_FIX
    )


def _unusual() -> InputError:
    return InputError(
        "DCM_NO_DECODER",
        "no decoder for lossless JPEG with restarts, several tables or components",
        fix="export it uncompressed",
    )
