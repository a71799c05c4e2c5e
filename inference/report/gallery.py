"""Chooses the cases that a reader should see and shows both outlines on the image.

The outlines are vectors above the picture: they stay sharp when it is enlarged, and
the reader can switch them off.
"""

import dataclasses

import cv2
import numpy as np

from data_prep.core import outlines
from data_prep.core import web_page
from inference.report.cases import Scores

_PICTURE_PX = 448
_QUALITY = 90


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tile:
    """One case to show.

    Attributes:
      image: [S, S] uint8.
      truth: [L, L] uint8 of 0 and 1, any L.
      prediction: [L, L] uint8 of 0 and 1.
      alt: text for readers who do not see the image.
      caption: a short text.
      image_id: the image's id.
    """

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    alt: str
    caption: str
    image_id: str


def choose(scores: Scores, count: int) -> dict[str, list[int]]:
    """Chooses the cases of each kind.

    Args:
      scores: the scores of all images.
      count: number of cases, split equally among the kinds.

    Returns:
      Indices into `scores`, no image twice: {"missed": positives without a predicted
      mask, largest lesion first; "false_alarms": negatives with a predicted mask,
      largest first; "worst", "best": positives with a predicted mask, by Dice}.
    """
    share = max(1, count // 4)
    hits = np.flatnonzero(scores.positive & scores.predicted_positive)
    by_dice = hits[np.argsort(scores.dice[hits], kind="stable")]
    num_best = min(share, (by_dice.size + 1) // 2)
    missed = np.flatnonzero(scores.positive & ~scores.predicted_positive)
    alarms = np.flatnonzero(~scores.positive & scores.predicted_positive)
    kinds = {
        "missed": missed[np.argsort(-scores.truth_area[missed], kind="stable")],
        "false_alarms": alarms[
            np.argsort(-scores.predicted_area[alarms], kind="stable")
        ],
        "worst": by_dice[: by_dice.size - num_best],
        "best": by_dice[::-1][:num_best],
    }
    return {kind: order[:share].tolist() for kind, order in kinds.items()}


def figure(tile: Tile) -> str:
    """Returns one case as HTML that templates do not escape again."""
    shrunk = cv2.resize(
        tile.image, (_PICTURE_PX, _PICTURE_PX), interpolation=cv2.INTER_AREA
    )
    masks = {"truth": tile.truth, "prediction": tile.prediction}
    return web_page.template("inference.report", "gallery.html.j2").module.figure(
        tile,
        web_page.picture(shrunk, kind="jpeg", quality=_QUALITY),
        _PICTURE_PX,
        {name: outlines.svg_path(mask, _PICTURE_PX) for name, mask in masks.items()},
    )
