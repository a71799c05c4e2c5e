"""What a table says of a mask: its area, its side of the image and its regions."""

import dataclasses
from typing import Literal

import numpy as np

from inference.masks import mask_runs
from inference.masks.mask_runs import MaskRuns

Side = Literal["", "left", "right", "both"]
# A half of the image with less than this share of the mask has what crosses the middle.
_SHARE = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskFacts:
    """Facts about one mask.

    Attributes:
      area_px: number of its pixels.
      side: which halves of the image have a tenth of its area or more; '' for an empty
        mask. It is a side of the image: the image's left is the patient's right where
        the film hangs as usual.
      num_regions: number of its 8-connected regions.
      at_border: whether it reaches an edge of the image.
    """

    area_px: int
    side: Side
    num_regions: int
    at_border: bool


def measure(rle: str, height: int, width: int) -> MaskFacts:
    """Returns the facts about a mask.

    Args:
      rle: the mask, see data_prep/dataset/rle.py.
      height: of the image, in pixels.
      width: of the image, in pixels.

    Raises:
      InputError: the text is no mask of an image of this size.
    """
    runs = mask_runs.from_rle(rle, height, width)
    columns, tops = np.divmod(runs.starts, height + 1)
    bottoms = tops + runs.ends - runs.starts
    edges = (columns == 0) | (columns == width - 1) | (tops == 0) | (bottoms == height)
    return MaskFacts(
        area_px=runs.area,
        side=_side(runs, columns),
        num_regions=len(np.unique(runs.components())),
        at_border=bool(edges.any()),
    )


def _side(runs: MaskRuns, columns: np.ndarray) -> Side:
    if not runs.area:
        return ""
    lengths = runs.ends - runs.starts
    # Twice, so that it is whole; the middle column of an odd width is in neither half.
    from_middle = 2 * columns + 1 - runs.width
    left = lengths[from_middle < 0].sum() >= _SHARE * runs.area
    right = lengths[from_middle > 0].sum() >= _SHARE * runs.area
    if left == right:
        return "both"
    return "left" if left else "right"
