"""Draws the outlines of truth and prediction on an image, with NumPy alone.

Unlike data_prep/core/outlines.py it also draws the borders of holes, and none along
the edge of the image.
"""

import numpy as np

_TRUTH = np.array([60, 200, 90], np.uint8)
_PREDICTION = np.array([255, 150, 40], np.uint8)


def draw(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Draws both outlines, the prediction over the truth.

    Args:
      image: [S, S] uint8.
      truth: [S, S] bool; its outline is green.
      prediction: [S, S] bool; its outline is orange.

    Returns:
      [S, S, 3] uint8, red, green, blue.
    """
    drawn = np.repeat(image[..., np.newaxis], 3, axis=-1)
    drawn[outline(truth)] = _TRUTH
    drawn[outline(prediction)] = _PREDICTION
    return drawn


def outline(mask: np.ndarray) -> np.ndarray:
    """Returns the pixels of a mask with one of their four neighbors outside the mask.

    Args:
      mask: [S, S] bool; beyond its edge it continues with the value at the edge.

    Returns:
      [S, S] bool.
    """
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner
