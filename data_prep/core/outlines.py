"""Outlines of masks: drawn on an image, or as the path of an SVG."""

import cv2
import numpy as np

# Blue, green, red: OpenCV's order.
TRUTH = (90, 200, 60)
PREDICTION = (40, 130, 255)


def on_image(
    image: np.ndarray,
    mask: np.ndarray,
    color: tuple[int, int, int],
    *,
    side: int,
    thickness: int,
) -> np.ndarray:
    """Draws the outer border of a mask on its image, without the borders of holes.

    Args:
      image: [S, S] uint8.
      mask: [L, L] uint8 of 0 and 1, any L.
      color: blue, green, red.
      side: side of the result, in pixels.
      thickness: of the line, in pixels.

    Returns:
      [side, side, 3] uint8, for cv2.imwrite.
    """
    size = (side, side)
    canvas = cv2.cvtColor(cv2.resize(image, size), cv2.COLOR_GRAY2BGR)
    resized = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(resized, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(canvas, contours, -1, color, thickness)


def svg_path(mask: np.ndarray, side: int) -> str:
    """Returns the border of a mask, with the borders of holes, as SVG path data.

    Args:
      mask: [L, L] uint8 of 0 and 1.
      side: side of the drawing, in its units.

    Returns:
      Closed polygons through the centers of the border's pixels; "" for an empty mask.
    """
    if not mask.any():
        return ""
    # INTER_AREA keeps a lesion of a few pixels, which other interpolations lose.
    if mask.shape[0] > side:
        shares = cv2.resize(
            mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA
        )
        resized = (shares >= min(0.5, shares.max())).astype(np.uint8)
    else:
        resized = np.ascontiguousarray(mask)
    scale = side / resized.shape[0]
    contours, _ = cv2.findContours(resized, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    polygons = []
    for contour in contours:
        points = (contour[:, 0, :] + 0.5) * scale
        # One pixel has one point; a line from it to itself is drawn as a dot.
        if len(points) == 1:
            points = np.concatenate([points, points])
        polygons.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(polygons)
