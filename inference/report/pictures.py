"""Draws cases as triples: the image, with its true and with its predicted outline."""

from collections.abc import Callable

import numpy as np

from data_prep.core import outlines
from data_prep.core import tiles
from inference.report.cases import Case

_TILE_PX = 256
_STEP_PX = _TILE_PX + tiles.GAP_PX
_COLUMNS = 2
_TITLES = (
    ("image", tiles.TEXT),
    ("truth", outlines.TRUTH),
    ("prediction", outlines.PREDICTION),
)

# [H, W] mask of the source image -> [L, L], on the square image
ToSquare = Callable[[np.ndarray], np.ndarray]


def sheet(cases: list[tuple[Case, np.ndarray]], to_square: ToSquare) -> np.ndarray:
    """Draws one triple per case, two triples per row.

    Args:
      cases: each with its image, [S, S] uint8.
      to_square: places a mask as the image is placed in its square.

    Returns:
      [H, W, 3] uint8, for cv2.imwrite.
    """
    triples = [_triple(case, image, to_square) for case, image in cases]
    body = tiles.grid(triples, _COLUMNS)
    header = tiles.canvas(tiles.CAPTION_PX + tiles.GAP_PX, body.shape[1])
    for column in range(_COLUMNS):
        for k, (title, color) in enumerate(_TITLES):
            left = column * triples[0].shape[1] + k * _STEP_PX
            _write(header, title, left, color)
    return np.vstack([header, body])


def choose(cases: dict[str, tuple[float, bool]], count: int) -> list[str]:
    """Chooses image ids over the range of scores: mostly positives, worst to best.

    Args:
      cases: {image id: (Dice, whether the truth is positive)}.
      count: number of images.
    """
    by_score = sorted(cases, key=lambda i: (cases[i][0], i))
    positive = [i for i in by_score if cases[i][1]]
    negative = [i for i in by_score if not cases[i][1]]
    num_negative = min(len(negative), max(count // 4, count - len(positive)))
    chosen = _evenly_spaced(positive, count - num_negative)
    # The worst negatives come first: a reader should see the false alarms.
    return chosen + negative[:num_negative]


def _evenly_spaced(items: list[str], count: int) -> list[str]:
    if count >= len(items):
        return items
    indices = np.linspace(0, len(items) - 1, count).round().astype(int)
    return [items[k] for k in indices]


def _triple(case: Case, image: np.ndarray, to_square: ToSquare) -> np.ndarray:
    height = _TILE_PX + tiles.CAPTION_PX + tiles.GAP_PX
    triple = tiles.canvas(height, 3 * _STEP_PX + tiles.GAP_PX)
    masks = (np.zeros_like(case.truth), case.truth, case.prediction)
    for k, (mask, (_, color)) in enumerate(zip(masks, _TITLES, strict=True)):
        tile = outlines.on_image(
            image, to_square(mask), color, side=_TILE_PX, thickness=2
        )
        triple[:_TILE_PX, k * _STEP_PX : k * _STEP_PX + _TILE_PX] = tile
    label = "pneumothorax" if case.truth.any() else "no pneumothorax"
    _write(triple[_TILE_PX:], f"{label}, Dice {case.dice:.2f}", 0, tiles.TEXT)
    return triple


def _write(image: np.ndarray, text: str, left: int, color) -> None:
    origin = (left + 4, tiles.CAPTION_PX - 6)
    tiles.write_text(image, text, origin, scale=0.5, color=color)
