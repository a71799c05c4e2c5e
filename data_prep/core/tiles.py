"""Sheets of captioned tiles, and images encoded for a file or a page."""

import pathlib

import cv2
import numpy as np

from data_prep.core import durable
from data_prep.core import outlines

TEXT = (235, 235, 235)  # Blue, green, red: OpenCV's order.
BACKGROUND = 28
CAPTION_PX = 22
GAP_PX = 6
_TILE_PX = 192


def contact_sheet(
    tiles: list[tuple[np.ndarray, np.ndarray, str]], *, columns: int = 6
) -> np.ndarray:
    """Draws images with the outlines of their masks, row by row.

    Args:
      tiles: image [S, S] uint8, mask [S, S] uint8 of 0 and 1, caption.
      columns: tiles in a row.

    Returns:
      [H, W, 3] uint8, for cv2.imwrite.
    """
    return grid([_captioned(*tile) for tile in tiles], columns)


def grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Joins tiles of one shape, [H, W, 3] uint8, and fills up the last row."""
    blank = np.full_like(tiles[0], BACKGROUND)
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
    return np.vstack(rows)


def canvas(height: int, width: int) -> np.ndarray:
    """Returns an empty [height, width, 3] uint8."""
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def write_text(
    image: np.ndarray,
    text: str,
    origin: tuple[int, int],
    *,
    scale: float,
    color: tuple[int, int, int] = TEXT,
) -> None:
    """Writes on an image in place; `origin` is x and y of the first letter's base."""
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, 1
    cv2.putText(image, text, origin, font, scale, color, thickness, cv2.LINE_AA)


def encode(pixels: np.ndarray, *, kind: str = "png", quality: int = 0) -> bytes:
    """Encodes an image.

    Args:
      pixels: [H, W] or [H, W, 3] uint8 in OpenCV's order, blue first.
      kind: "png" or "jpeg".
      quality: JPEG quality, 1 to 100.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else []
    return cv2.imencode(f".{kind}", pixels, options)[1].tobytes()


def write_png(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes `pixels`, as `encode` takes them, atomically."""
    with durable.atomic_write(path) as partial:
        partial.write_bytes(encode(pixels))


def _captioned(image: np.ndarray, mask: np.ndarray, caption: str) -> np.ndarray:
    tile = canvas(_TILE_PX + CAPTION_PX + GAP_PX, _TILE_PX + GAP_PX)
    tile[:_TILE_PX, :_TILE_PX] = outlines.on_image(
        image, mask, outlines.TRUTH, side=_TILE_PX, thickness=1
    )
    write_text(tile, caption, (2, _TILE_PX + CAPTION_PX - 6), scale=0.42)
    return tile
