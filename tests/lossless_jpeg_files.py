"""Writes lossless JPEG streams without any library, to test what decodes them."""

import struct

import numpy as np


def encode(image: np.ndarray, bits: int) -> bytes:
    """Returns [H, W] unsigned values as process 14 with predictor 1 (ITU-T T.81 H)."""
    values = image.astype(np.int64)
    predicted = np.zeros_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (bits - 1)
    code = []
    for difference in (values - predicted).ravel().tolist():
        # The codes are the category itself, in five bits.
        category = abs(difference).bit_length()
        code.append(f"{category:05b}")
        if category:
            low = difference if difference > 0 else difference + (1 << category) - 1
            code.append(f"{low:0{category}b}")
    text = "".join(code)
    text += "1" * (-len(text) % 8)
    coded = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    table = bytes([0] * 5 + [17] + [0] * 11 + list(range(17)))
    frame = struct.pack(">BHHB", bits, *image.shape, 1) + b"\x01\x11\x00"
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, frame),
            _segment(0xC4, table),
            _segment(0xDA, b"\x01\x01\x00\x01\x00\x00"),
            coded,
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
