"""The cases that a reader should see, with both outlines on the image.

The outlines are vectors above the picture: they stay sharp when it is enlarged, and
the reader can switch them off.
"""

import dataclasses
import html

import cv2
import numpy as np

from data_prep.core import web_page
from inference.report.cases import Scores

_PICTURE_PX = 448
_QUALITY = 90
STYLE = """
.cases { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); }
.cases figure { margin: 0; }
.film { position: relative; background: #000; border-radius: .4rem; overflow: hidden; }
.film img { display: block; width: 100%; }
.film svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.film path { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke;
  stroke-linecap: round; stroke-linejoin: round; }
.truth { stroke: #3ddc5b; }
.prediction { stroke: #ff9a3c; stroke-dasharray: 6 5; }
.switches { position: sticky; top: 0; z-index: 1; background: var(--paper);
  padding: .5rem 0; display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; }
.switches label { display: flex; align-items: center; gap: .5rem; min-height: 2rem; }
.switches input { width: 1.2rem; height: 1.2rem; margin: 0; }
.switches svg { width: 2.2rem; height: .4rem; }
.switches path { stroke-width: 4; }
body:has(#show-truth:not(:checked)) .film .truth,
body:has(#show-prediction:not(:checked)) .film .prediction { display: none; }
figcaption { font-size: .85rem; line-height: 1.35; margin-top: .3rem; }
figcaption small { color: var(--faint); overflow-wrap: anywhere; }
"""
_SWITCHES = "".join(
    f'<label><input type="checkbox" id="show-{name}" checked>'
    f'<svg viewBox="0 0 36 6" aria-hidden="true">'
    f'<path class="{name}" d="M0 3H36"/></svg>{name.capitalize()}</label>'
    for name in ("truth", "prediction")
)
SWITCHES = f'<div class="switches">{_SWITCHES}</div>'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tile:
    """One case to show.

    Attributes:
      image: [S, S] uint8.
      truth: [L, L] uint8 of 0 and 1, any L.
      prediction: [L, L] likewise.
      alt: the case in words.
      caption: a short text.
      image_id: its id.
    """

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    alt: str
    caption: str
    image_id: str


def choose(scores: Scores, count: int) -> dict[str, list[int]]:
    """Chooses what to show of each kind.

    Args:
      scores: all images.
      count: how many in all, shared equally.

    Returns:
      {"missed": positives without a predicted mask, largest lesion first;
      "false_alarms": empty images with one, largest first; "worst" and "best": of
      the lesions that were found, by Dice}, as indices into `scores`; no image twice.
    """
    share = max(1, count // 4)
    both = np.flatnonzero(scores.positive & scores.predicted_positive)
    by_dice = both[np.argsort(scores.dice[both], kind="stable")]
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
    """Returns one case as HTML."""
    small = cv2.resize(
        tile.image, (_PICTURE_PX, _PICTURE_PX), interpolation=cv2.INTER_AREA
    )
    picture = web_page.image(small, tile.alt, kind="jpeg", quality=_QUALITY)
    drawn = "".join(
        f'<path class="{name}" d="{path}"/>'
        for name, mask in (("truth", tile.truth), ("prediction", tile.prediction))
        if (path := outline(mask, _PICTURE_PX))
    )
    return (
        f'<figure><div class="film">{picture}'
        f'<svg viewBox="0 0 {_PICTURE_PX} {_PICTURE_PX}" aria-hidden="true">{drawn}'
        f"</svg></div><figcaption>{html.escape(tile.caption)}<br>"
        f"<small>{html.escape(tile.image_id)}</small></figcaption></figure>"
    )


def outline(mask: np.ndarray, size: int) -> str:
    """Returns the border of a square mask, holes too, as the data of an SVG path.

    Args:
      mask: [L, L] uint8 of 0 and 1.
      size: side of the drawing, in its units.

    Returns:
      Closed polygons through the middles of the border's pixels; "" for no mask.
    """
    if not mask.any():
        return ""
    # Shrunk by area, so that a lesion of a few pixels does not vanish.
    if mask.shape[0] > size:
        shares = cv2.resize(
            mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA
        )
        small = (shares >= min(0.5, shares.max())).astype(np.uint8)
    else:
        small = np.ascontiguousarray(mask)
    scale = size / small.shape[0]
    lines, _ = cv2.findContours(small, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    polygons = []
    for line in lines:
        points = (line[:, 0, :] + 0.5) * scale
        # A single pixel has one point; its line to itself is a dot.
        points = np.concatenate([points, points[:1]]) if len(points) == 1 else points
        polygons.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(polygons)
