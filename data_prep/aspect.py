"""Squares from images that are none, and the way back for predictions.

"pad" puts the image in the middle of a black square: anatomy keeps its shape.
"stretch" scales both sides alone, as resizing a non-square image does. The mask
goes the same way, and so does a prediction, backwards.
"""

import cv2
import numpy as np

ASPECTS = ("pad", "stretch")


def to_square(image: np.ndarray, aspect: str) -> np.ndarray:
    """Returns [L, L] from [H, W], L the longer side; "stretch" leaves it [H, W]."""
    height, width = image.shape
    if aspect == "stretch" or height == width:
        return image
    top, left, side = _place(height, width)
    square = np.zeros((side, side), image.dtype)
    square[top : top + height, left : left + width] = image
    return square


def from_square(values: np.ndarray, height: int, width: int, aspect: str) -> np.ndarray:
    """Enlarges [S, S] float32 bilinearly to the source's [height, width]."""
    if aspect == "stretch" or height == width:
        return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    top, left, side = _place(height, width)
    large = cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR)
    return large[top : top + height, left : left + width]


def _place(height: int, width: int) -> tuple[int, int, int]:
    """Returns top, left and side of an image in its square."""
    side = max(height, width)
    return (side - height) // 2, (side - width) // 2, side
