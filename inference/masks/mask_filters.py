"""Steps that clean a mask: whatever is too small, whatever is enclosed.

Areas are in pixels of an image of 1024 x 1024 and scale with other sizes; an area
that is reached is enough.
"""

import math
from collections.abc import Callable

import numpy as np

from data_prep.core.errors import ConfigError
from inference.masks import mask_runs
from inference.masks.mask_runs import Runs

_REFERENCE_PX = 1024

Step = Callable[[Runs], Runs]


def min_area(pixels: float = 2048, per: str = "image") -> Step:
    """Leaves out what is smaller than `pixels`.

    Args:
      pixels: area at 1024.
      per: "image" empties the whole mask, which is the rule of the 2019 solution;
        "component" leaves out single components.
    """
    check("min_area", pixels, above=0)
    if per not in ("image", "component"):
        raise ConfigError(f"Expected per=image or per=component. Received: per={per}")

    def clean(mask: Runs) -> Runs:
        # No component is larger than all of them.
        if not enough(mask.area, pixels, mask):
            return mask_runs.empty(mask.height, mask.width)
        if per == "image":
            return mask
        labels = mask.components()
        areas = np.bincount(labels, mask.ends - mask.starts)[labels]
        return mask.select(enough(areas, pixels, mask))

    return clean


def fill_holes() -> Step:
    """Sets background that the mask encloses."""
    return Runs.without_holes


CLEANERS = {"min_area": min_area, "fill_holes": fill_holes}


def enough(pixels, area: float, mask: Runs):
    """Compares counts of pixels in `mask`'s image with an area at 1024."""
    return pixels * _REFERENCE_PX**2 >= area * (mask.height * mask.width)


def check(name: str, value, *, above: float, at_most: float = math.inf) -> None:
    """Raises ConfigError unless `value` is a number in the range."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not above < value <= at_most:
        limit = "" if at_most == math.inf else f" <= {at_most}"
        raise ConfigError(f"Expected {above} < {name}{limit}. Received: {name}={value}")
