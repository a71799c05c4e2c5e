"""Makes images square, and maps predictions back to the shape of the image.

"pad" puts the image in the middle of a black square, so anatomy keeps its shape.
"stretch" scales each side by its own factor, as resizing a non-square image does.
Masks are placed as their images are.
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
    top, left, *covered = placed(height, width, aspect)
    enlarged = cv2.resize(values, covered[::-1], interpolation=cv2.INTER_LINEAR)
    return enlarged[top : top + height, left : left + width]


def placed(height: int, width: int, aspect: str) -> tuple[int, int, int, int]:
    """Returns the placement of an image in the square, in pixels of the image.

    Returns:
      row and column of the image's first pixel in the area that the square covers,
      and height and width of that area.
    """
    if aspect == "stretch" or height == width:
        return 0, 0, height, width
    top, left, side = _place(height, width)
    return top, left, side, side


def _place(height: int, width: int) -> tuple[int, int, int]:
    """Returns top, left and side of an image in its square."""
    side = max(height, width)
    return (side - height) // 2, (side - width) // 2, side
