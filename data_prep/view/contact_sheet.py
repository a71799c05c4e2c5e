"""A sheet of small pictures with the mask's outline and a caption."""

import cv2
import numpy as np

_TILE_PX = 192
_CAPTION_PX = 22
_GAP_PX = 6
_OUTLINE = (90, 200, 60)  # Blue, green, red: OpenCV's order.
_TEXT = (235, 235, 235)
_BACKGROUND = 28


def draw(
    tiles: list[tuple[np.ndarray, np.ndarray, str]], *, columns: int = 6
) -> np.ndarray:
    """Draws tiles row by row.

    Args:
      tiles: image [S, S] uint8, mask [S, S] of 0 and 1, caption.
      columns: tiles in a row.

    Returns:
      [H, W, 3] uint8, for cv2.imwrite.
    """
    drawn = [_captioned(outlined(*tile[:2], _TILE_PX), tile[2]) for tile in tiles]
    drawn += [np.full_like(drawn[0], _BACKGROUND)] * (-len(drawn) % columns)
    rows = [np.hstack(drawn[k : k + columns]) for k in range(0, len(drawn), columns)]
    return np.vstack(rows)


def outlined(image: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """Draws a mask's outline on its image.

    Args:
      image: [S, S] uint8.
      mask: [S, S] uint8 of 0 and 1.
      size: side of the result, in pixels.

    Returns:
      [size, size, 3] uint8, for cv2.imwrite.
    """
    large = cv2.cvtColor(cv2.resize(image, (size, size)), cv2.COLOR_GRAY2BGR)
    outline = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(large, lines, -1, _OUTLINE, 1)


def _captioned(tile: np.ndarray, caption: str) -> np.ndarray:
    height, width = _TILE_PX + _CAPTION_PX + _GAP_PX, _TILE_PX + _GAP_PX
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    canvas[:_TILE_PX, :_TILE_PX] = tile
    place = (2, _TILE_PX + _CAPTION_PX - 6)
    cv2.putText(
        canvas, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _TEXT, 1, cv2.LINE_AA
    )
    return canvas
