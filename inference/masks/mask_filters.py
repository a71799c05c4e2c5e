"""Filters that remove small masks or components, or fill holes.

Areas are in pixels of an image of 1024 x 1024 and scale with the image. A mask of
exactly the minimum area is kept.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from data_prep.core.errors import ConfigError
from data_prep.dataset import reference_area
from inference.masks import mask_runs
from inference.masks.mask_runs import MaskRuns

Filter = Callable[[MaskRuns], MaskRuns]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinArea:
    """Removes what is too small.

    Attributes:
      pixels: minimum area at 1024.
      per: "image" or "component".
    """

    pixels: float
    per: str

    def __call__(self, mask: MaskRuns) -> MaskRuns:
        """Returns the mask without what is too small."""
        size = mask.height, mask.width
        # If the whole mask is too small, every component is.
        if not reference_area.at_least(mask.area, self.pixels, *size):
            return mask_runs.empty(*size)
        if self.per == "image":
            return mask
        labels = mask.components()
        areas = np.bincount(labels, mask.ends - mask.starts)[labels]
        return mask.select(reference_area.at_least(areas, self.pixels, *size))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FillHoles:
    """Sets the background that the mask encloses."""

    def __call__(self, mask: MaskRuns) -> MaskRuns:
        """Returns the mask with its holes filled."""
        return mask.without_holes()


def min_area(pixels: float = 2048, per: str = "image") -> MinArea:
    """Returns a filter that removes what is smaller than `pixels`.

    Args:
      pixels: minimum area at 1024.
      per: "image" empties the whole mask, which is the rule of the 2019 solution;
        "component" removes single components.
    """
    check_range("min_area", pixels, above=0)
    if per not in ("image", "component"):
        raise ConfigError(f"Expected per=image or per=component. Received: per={per}")
    return MinArea(pixels=pixels, per=per)


def fill_holes() -> FillHoles:
    """Returns a filter that sets the background that the mask encloses."""
    return FillHoles()


FILTERS = {"min_area": min_area, "fill_holes": fill_holes}


def check_range(name: str, value, *, above: float, at_most: float = math.inf) -> None:
    """Raises ConfigError unless `value` is a number in the range."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not above < value <= at_most:
        limit = "" if at_most == math.inf else f" <= {at_most}"
        raise ConfigError(f"Expected {above} < {name}{limit}. Received: {name}={value}")
