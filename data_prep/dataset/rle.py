"""Run-length encoding (RLE) of masks, in the competition's format.

A mask is `gap length gap length ...`: pixels skipped since the end of the last
run, then pixels set, counted down the columns (x outer, y inner). `-1` is the
empty mask. Source: the data page of Kaggle's SIIM-ACR Pneumothorax
Segmentation, 2019.
"""

import re

import numpy as np

from data_prep.core.errors import InputError

EMPTY = "-1"
_TOKEN = re.compile(r"[0-9]{1,9}", re.ASCII)
_ROW = re.compile(r"\s*[0-9]{1,9}(?:\s+[0-9]{1,9})*\s*", re.ASCII)
_FIX = "correct the row or leave the image out of the csv"


def encode(mask: np.ndarray) -> str:
    """Encodes `mask`, [H, W] of 0 and non-zero, to a string; empty is '-1'."""
    mask = np.asarray(mask)
    rows, columns = column_edges(mask)
    edges = columns * mask.shape[0] + rows
    # Sort the edges from row-major to column-major order: a mask has few, so this
    # costs less than transposing the pixels.
    edges.sort()
    return encode_runs(edges[::2], edges[1::2])


def encode_runs(starts: np.ndarray, ends: np.ndarray) -> str:
    """Encodes runs of pixels, counted down the columns.

    Args:
      starts: [N] integers, the first pixel of each run, ascending.
      ends: [N] integers, one past its last pixel; no run begins before the
        previous one ends. Runs that touch become one.
    """
    if not len(starts):
        return EMPTY
    is_gap = starts[1:] != ends[:-1]
    starts, ends = starts[np.append(True, is_gap)], ends[np.append(is_gap, True)]
    numbers = np.empty(2 * len(starts), np.int64)
    numbers[::2] = starts
    numbers[2::2] -= ends[:-1]
    numbers[1::2] = ends - starts
    return " ".join(map(str, numbers.tolist()))


def column_edges(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the edges of a mask along its columns.

    Args:
      mask: [H, W] of 0 and non-zero.

    Returns:
      rows in 0..H and columns in 0..W-1, int64, in row-major order. Down each
      column, edges alternate between the first pixel of a run and the one past its
      last.
    """
    height, width = mask.shape
    inside = mask if mask.dtype == bool else mask != 0
    edges = np.empty((height + 1, width), bool)
    edges[0], edges[height] = inside[0], inside[-1]
    np.not_equal(inside[1:], inside[:-1], out=edges[1:height])
    return np.divmod(np.flatnonzero(edges), width)


def decode(rle: str, height: int, width: int) -> np.ndarray:
    """Decodes one row to a mask, [height, width] uint8 of 0 and 1.

    Raises:
      InputError: the text is not exactly `-1` or pairs that fit into the image.
    """
    return decode_union([rle], height, width)


def decode_union(rows: list[str], height: int, width: int) -> np.ndarray:
    """Decodes all rows of an image to the union of their masks, uint8 of 0 and 1.

    The result is a view in Fortran order, as RLE counts the pixels.
    """
    flat = np.zeros(height * width, np.uint8)
    for row in rows:
        starts, ends = decode_runs(row, height, width)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            flat[start:end] = 1
    return flat.reshape(width, height).T


def check(rle: str) -> None:
    """Checks the grammar of one row without knowing the image's size.

    Raises:
      InputError: as `decode`, except for runs that exceed the image.
    """
    if rle.strip() != EMPTY:
        _numbers(rle)


def is_absolute(rle: str) -> bool:
    """Returns whether a row's starts can be counted from the first pixel.

    They can if each run starts where the previous one ends or later, as in Kaggle's
    other competitions. Relative starts, which skip about a column each, hardly ever
    rise like that over several runs.
    """
    numbers = _numbers(rle)
    starts, lengths = numbers[::2], numbers[1::2]
    return bool((starts[1:] >= starts[:-1] + lengths[:-1]).all())


def decode_runs(rle: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Decodes one row to runs, without making pixels.

    Returns:
      first pixel of each run and the one past its last, [N] int64, ascending,
      counted down the columns.

    Raises:
      InputError: as `decode`.
    """
    if rle.strip() == EMPTY:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    edges = np.cumsum(_numbers(rle))
    if edges[-1] > height * width:
        raise InputError(
            "RLE_OVERFLOW",
            f"runs reach pixel {edges[-1]} of an image of {height} x {width}",
            fix="the csv must be relative and for the original size; " + _FIX,
        )
    return edges[::2], edges[1::2]


def _numbers(rle: str) -> np.ndarray:
    if not _ROW.fullmatch(rle):
        _refuse_tokens(rle.split())
    numbers = np.fromstring(rle, np.int64, sep=" ")
    if len(numbers) % 2:
        raise InputError("RLE_ODD", f"{len(numbers)} numbers are not pairs", fix=_FIX)
    if not numbers[1::2].all():
        raise InputError("RLE_TOKEN", "a run has length 0", fix=_FIX)
    return numbers


def _refuse_tokens(tokens: list[str]) -> None:
    if not tokens:
        raise InputError("RLE_EMPTY", "the mask is an empty text", fix=_FIX)
    # int() would also take "1_0", "+1" and full-width digits.
    wrong = next((t for t in tokens if not _TOKEN.fullmatch(t)), " ".join(tokens))
    raise InputError(
        "RLE_TOKEN",
        f"expected non-negative integers, received {wrong[:20]!r}",
        fix=_FIX,
    )
