"""Tells masks that cannot be a pneumothorax from those that only look odd.

An air space between lung and chest wall covers less than half of a film and does not
run around its edge. What does is a mask whose background is 1, or another picture.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import rle

MOST_SHARE = 0.5
LARGE_SHARE = 0.25
_MOST_BORDER = 0.5
_EDGE = 0.03
# Fewer runs, or masks, can look like anything.
_FEWEST_RUNS = 3
_FEWEST_OF_A_SET = 3
_INVERT = "make 0 the background of the mask, or remove it"
# {code of one mask: what is wrong with a set in which most masks have it, remedy}
_OF_A_SET = {
    "MASK_INVERTED": ("look inverted", "invert them, so that 0 is background"),
    "MASK_LOSSY": ("are JPEG files", "export the masks as PNG"),
    "MASK_VALUES": ("have other than two values", "export 0 and one other value"),
    "RLE_LOOKS_ABSOLUTE": (
        "have starts instead of gaps",
        "give each run the pixels since the end of the one before, from 0",
    ),
    "RLE_OVERFLOW": (
        "leave their films",
        "the csv must be relative and for the films' original size",
    ),
}


def refuse_set(faults: Iterable[InputError], num_masks: int) -> None:
    """Ends a conversion in which most masks are wrong, which is a fault of the set.

    Args:
      faults: of single inputs, of any kind.
      num_masks: how many masks there are, without those that are rightly empty.

    Raises:
      CommandError: more than half of the masks, and at least 3, are refused; the
        most frequent fault is named.
    """
    counts = Counter(fault.code for fault in faults if fault.code in _OF_A_SET)
    if counts.total() < max(_FEWEST_OF_A_SET, num_masks // 2 + 1):
        return
    (code, count), *_ = counts.most_common(1)
    what, remedy = _OF_A_SET[code]
    raise CommandError(
        ExitCode.TOO_MANY_BAD,
        f"{code}: {count} of {num_masks} masks that are not empty {what}; nothing was "
        "converted",
        fix=remedy,
    )


def refuse_impossible(mask: np.ndarray) -> None:
    """Refuses a mask that must be inverted.

    Args:
      mask: [H, W] uint8 of 0 and 1.

    Raises:
      InputError: it covers over half of the film, or of the film's border.
    """
    _refuse_share(float(np.count_nonzero(mask)) / mask.size)
    if border_share(mask) > _MOST_BORDER:
        raise InputError(
            "MASK_INVERTED",
            f"the mask covers {border_share(mask):.0%} of the film's border",
            fix=_INVERT,
        )


def refuse_impossible_rows(rows: list[str], height: int, width: int) -> None:
    """Refuses RLE rows that cannot be meant as they read.

    Args:
      rows: all rows of an image, in the competition's dialect.
      height: of the film, in pixels.
      width: of the film.

    Raises:
      InputError: they cover over half of the film, they do not fit into it, or their
        numbers read like absolute starts.
    """
    covered = 0
    for row in rows:
        if row.strip() == rle.EMPTY:
            continue
        _refuse_absolute(row, height, width)
        starts, ends = rle.decode_runs(row, height, width)
        covered += int((ends - starts).sum())
    # Rows may overlap, so only their union tells.
    if covered > MOST_SHARE * height * width:
        refuse_impossible(rle.decode_union(rows, height, width))


def oddities(mask: np.ndarray, film: np.ndarray) -> tuple[str, ...]:
    """Returns what is odd about a mask that may yet be right, each as a phrase.

    Args:
      mask: [H, W] uint8 of 0 and 1.
      film: [H, W] uint8.
    """
    foreground = mask.astype(bool, copy=False)
    pixels = np.count_nonzero(foreground)
    if not pixels:
        return ()
    found = []
    share = pixels / mask.size
    if share > LARGE_SHARE:
        found.append(f"covers {share:.0%} of the film")
    if not _inner(foreground).any():
        found.append(f"lies within the outer {_EDGE:.0%} of the film")
    elif border_share(mask) > 0.1:
        found.append(f"covers {border_share(mask):.0%} of the film's border")
    if not film[foreground].any():
        found.append("lies on black only")
    return tuple(found)


def border_share(mask: np.ndarray) -> float:
    """Returns the share of the outermost pixels of [H, W] that are foreground."""
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return float(np.count_nonzero(border)) / border.size


def _refuse_share(share: float) -> None:
    if share > MOST_SHARE:
        raise InputError(
            "MASK_INVERTED", f"the mask covers {share:.0%} of the film", fix=_INVERT
        )


def _inner(foreground: np.ndarray) -> np.ndarray:
    """Returns [H, W] without its outer edge."""
    rows, columns = (max(1, round(_EDGE * side)) for side in foreground.shape)
    return foreground[rows:-rows, columns:-columns]


def _refuse_absolute(row: str, height: int, width: int) -> None:
    """Refuses a row of absolute starts, as most other competitions have them.

    Read as gaps, starts grow by about a column from run to run; gaps between the runs
    of one lesion stay alike. Where the sum of the numbers leaves the film, starts that
    ascend without an overlap and stay within it are telling enough.
    """
    rle.check(row)
    numbers = np.array(row.split(), np.int64)
    starts, lengths = numbers[::2], numbers[1::2]
    if len(starts) < 2:
        return
    ends = starts + lengths
    if (starts[1:] < ends[:-1]).any() or ends[-1] > height * width + 1:
        return
    steps = np.abs(np.diff(starts))
    columnwise = min(np.abs(np.median(steps) - side) / side for side in (height, width))
    leaves = numbers.sum() > height * width
    if leaves or (len(starts) >= _FEWEST_RUNS and columnwise < 0.25):
        raise InputError(
            "RLE_LOOKS_ABSOLUTE",
            "the numbers read like starts and lengths, not gaps and lengths",
            fix="give each run the pixels since the end of the one before, from 0",
        )
