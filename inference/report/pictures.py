"""Pictures of cases: image, truth and prediction side by side."""

from collections.abc import Callable

import cv2
import numpy as np

from inference.report.cases import Case

_TILE_PX = 256
_GAP_PX = 6
_CAPTION_PX = 22
_COLUMNS = 2
_TRUTH = (90, 200, 60)  # Blue, green, red: OpenCV's order.
PREDICTION = (40, 130, 255)
_TEXT = (235, 235, 235)
_BACKGROUND = 28


# [H, W] mask of the source -> [L, L], where the square image has it
OnSquare = Callable[[np.ndarray], np.ndarray]


def sheet(cases: list[tuple[Case, np.ndarray]], on_square: OnSquare) -> np.ndarray:
    """Draws one triple a case, two triples a row.

    Args:
      cases: each with its image, [S, S] uint8.
      on_square: brings masks to the shape of the image.

    Returns:
      [H, W, 3] uint8, for cv2.imwrite.
    """
    triples = [_triple(case, image, on_square) for case, image in cases]
    blank = np.full_like(triples[0], _BACKGROUND)
    triples += [blank] * (-len(triples) % _COLUMNS)
    rows = [
        np.hstack(triples[k : k + _COLUMNS]) for k in range(0, len(triples), _COLUMNS)
    ]
    body = np.vstack(rows)
    header = np.full((_CAPTION_PX + _GAP_PX, body.shape[1], 3), _BACKGROUND, np.uint8)
    for column in range(_COLUMNS):
        for k, (title, colour) in enumerate(
            (("image", _TEXT), ("truth", _TRUTH), ("prediction", PREDICTION))
        ):
            _write(header, title, column * triples[0].shape[1] + k * _step(), colour)
    return np.vstack([header, body])


def outlined(
    image: np.ndarray, mask: np.ndarray, colour, *, side: int = _TILE_PX
) -> np.ndarray:
    """Draws the border of `mask`, [L, L], on `image`, [S, S], both sized to `side`."""
    size = (side, side)
    tile = cv2.cvtColor(cv2.resize(image, size), cv2.COLOR_GRAY2BGR)
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(tile, lines, -1, colour, 2)


def choose(cases: dict[str, tuple[float, bool]], count: int) -> list[str]:
    """Chooses ids that show the range: mostly positives, from worst to best.

    Args:
      cases: {image id: (Dice, whether the truth is positive)}.
      count: how many.
    """
    by_score = sorted(cases, key=lambda i: (cases[i][0], i))
    positive = [i for i in by_score if cases[i][1]]
    empty = [i for i in by_score if not cases[i][1]]
    num_empty = min(len(empty), max(count // 4, count - len(positive)))
    chosen = _spread(positive, count - num_empty)
    # The worst of the empty ones first: a false alarm should be seen.
    return chosen + empty[:num_empty]


def _spread(ordered: list[str], count: int) -> list[str]:
    if count >= len(ordered):
        return ordered
    places = np.linspace(0, len(ordered) - 1, count).round().astype(int)
    return [ordered[k] for k in places]


def _triple(case: Case, image: np.ndarray, on_square: OnSquare) -> np.ndarray:
    height = _TILE_PX + _CAPTION_PX + _GAP_PX
    canvas = np.full((height, 3 * _step() + _GAP_PX, 3), _BACKGROUND, np.uint8)
    none = np.zeros_like(case.truth)
    for k, (mask, colour) in enumerate(
        ((none, _TEXT), (case.truth, _TRUTH), (case.prediction, PREDICTION))
    ):
        left = k * _step()
        canvas[:_TILE_PX, left : left + _TILE_PX] = outlined(
            image, on_square(mask), colour
        )
    kind = "pneumothorax" if case.truth.any() else "no pneumothorax"
    caption = canvas[_TILE_PX : _TILE_PX + _CAPTION_PX]
    _write(caption, f"{kind}, Dice {case.dice:.2f}", 0, _TEXT)
    return canvas


def _step() -> int:
    return _TILE_PX + _GAP_PX


def _write(canvas: np.ndarray, text: str, left: int, colour) -> None:
    place = (left + 4, _CAPTION_PX - 6)
    cv2.putText(
        canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA
    )
