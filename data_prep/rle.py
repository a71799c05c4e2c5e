"""The competition's run-length code of a mask.

A mask is `gap length gap length ...`: pixels skipped since the end of the last
run, then pixels set, counted down the columns (x outer, y inner). `-1` is the
empty mask. Source: the data page of Kaggle's SIIM-ACR Pneumothorax
Segmentation, 2019.
"""

import re

import numpy as np

from data_prep.failures import Rejected

EMPTY = "-1"
_TOKEN = re.compile(r"[0-9]{1,9}", re.ASCII)
_MEND = "correct the row or leave the image out of the csv"


def encode(mask: np.ndarray) -> str:
    """Encodes `mask`, [H, W] of 0 and non-zero, to a string; empty is '-1'."""
    flat = np.concatenate([[0], (np.asarray(mask) != 0).T.ravel(), [0]])
    edges = np.flatnonzero(np.diff(flat.astype(np.int8)))
    if not edges.size:
        return EMPTY
    starts, ends = edges[::2], edges[1::2]
    gaps = starts - np.concatenate([[0], ends[:-1]])
    return " ".join(map(str, np.stack([gaps, ends - starts], axis=1).ravel()))


def decode(rle: str, height: int, width: int) -> np.ndarray:
    """Decodes one row to a mask, [height, width] uint8 of 0 and 1.

    Raises:
      Rejected: the text is not exactly `-1` or pairs that fit into the image.
    """
    return decode_union([rle], height, width)


def decode_union(rows: list[str], height: int, width: int) -> np.ndarray:
    """Decodes all rows of an image to the union of their masks, uint8 0 and 1.

    The result is a view whose columns are contiguous, as the code has them.
    """
    flat = np.zeros(height * width, np.uint8)
    for row in rows:
        for start, end in _runs(row, height, width):
            flat[start:end] = 1
    return flat.reshape(width, height).T


def check(rle: str) -> None:
    """Checks the grammar of one row without knowing the image's size.

    Raises:
      Rejected: as `decode`, but for an overflow.
    """
    tokens = rle.split()
    if tokens != [EMPTY]:
        _numbers(tokens)


def _runs(rle: str, height: int, width: int) -> list[tuple[int, int]]:
    """Returns first and behind-last pixel of each run, counted down the columns."""
    tokens = rle.split()
    if tokens == [EMPTY]:
        return []
    edges = np.cumsum(_numbers(tokens))
    if edges[-1] > height * width:
        raise Rejected(
            "RLE_OVERFLOW",
            f"runs reach pixel {edges[-1]} of an image of {height} x {width}",
            mend="the csv must be relative and for the original size; " + _MEND,
        )
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _numbers(tokens: list[str]) -> np.ndarray:
    if not tokens:
        raise Rejected("RLE_EMPTY", "the mask is an empty text", mend=_MEND)
    for token in tokens:
        # int() would also take "1_0", "+1" and full-width digits.
        if not _TOKEN.fullmatch(token):
            raise Rejected(
                "RLE_TOKEN",
                f"expected non-negative integers, received {token[:20]!r}",
                mend=_MEND,
            )
    if len(tokens) % 2:
        raise Rejected("RLE_ODD", f"{len(tokens)} numbers are not pairs", mend=_MEND)
    numbers = np.array(tokens, dtype=np.int64)
    if not numbers[1::2].all():
        raise Rejected("RLE_TOKEN", "a run has length 0", mend=_MEND)
    return numbers
