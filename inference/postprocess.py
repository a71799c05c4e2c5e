"""From mean probabilities to a mask at the source's size, by a spec.

    threshold(0.5)|min_area(2048)

The probabilities are enlarged bilinearly, cut at the threshold, and cleaned.
Areas are in pixels of an image of 1024 x 1024 and scale with other sizes.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_prep import aspect
from data_prep import spec
from data_prep.failures import BadValue

_REFERENCE_PX = 1024

# [H, W] uint8 of 0 and 1 -> the same
Clean = Callable[[np.ndarray], np.ndarray]


def min_area(pixels: int = 2048) -> Clean:
    """Empties a mask whose whole area is below `pixels`.

    The rule of the 2019 solution, which judges the image and not its parts.
    """

    def clean(mask: np.ndarray) -> np.ndarray:
        area = mask.sum() * _REFERENCE_PX**2 / mask.size
        return mask if area >= pixels else np.zeros_like(mask)

    return clean


CLEANERS = {"min_area": min_area}


@dataclasses.dataclass(frozen=True)
class Postprocess:
    """Turns the probabilities of one image into its mask."""

    threshold: float
    cleaners: tuple[Clean, ...]

    def __call__(
        self, probabilities: np.ndarray, height: int, width: int, how: str
    ) -> np.ndarray:
        """Returns the mask.

        Args:
          probabilities: [S, S] float32 in 0..1.
          height: of the mask, in pixels.
          width: of the mask, in pixels.
          how: the dataset's aspect policy, see data_prep/aspect.py.

        Returns:
          [height, width] uint8 of 0 and 1.
        """
        # Bilinear values never exceed their neighbours: most masks end here.
        if probabilities.max() < self.threshold:
            return np.zeros((height, width), np.uint8)
        large = aspect.from_square(probabilities, height, width, how)
        mask = (large >= self.threshold).astype(np.uint8)
        for clean in self.cleaners:
            mask = clean(mask)
        return mask


def parse(text: str) -> Postprocess:
    """Parses a spec that begins with `threshold(t)`.

    Raises:
      BadValue: no threshold first, unknown step, or bad arguments.
    """
    first, *rest = spec.parse(text)
    if first.name != "threshold" or len(first.args) != 1 or first.kwargs:
        raise BadValue(
            f"Expected threshold(t) as the first step. Received: postprocess={text!r}"
        )
    threshold = first.args[0]
    if not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise BadValue(f"Expected 0 < threshold <= 1. Received: {threshold!r}")
    cleaners = [spec.call(t, CLEANERS, kind="post-processing step") for t in rest]
    return Postprocess(threshold, tuple(cleaners))
