"""What was predicted, on one self-contained page: counts, areas, the largest masks.

There is no truth in it; the page of `inference.evaluate` has both.
"""

import heapq
import html

import numpy as np

from data_prep.core import charts
from data_prep.core import web_page
from data_prep.dataset import aspect
from data_prep.dataset import rle
from inference.report import gallery
from inference.report.gallery import Tile

TITLE = "Pneumothorax: prediction"
_SHOWN = 48
_REFERENCE_PX = 1024
_AREAS = (1, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_BINS = 20
_STYLE = (
    "h1 { line-height: 1.2; } h2 { margin: 2.5rem 0 .5rem; } p { max-width: 46rem; }"
)


class Summary:
    """Collects images one after the other, in memory of those that are shown.

    Args:
      rows: {image id: RLE}.
      classified: {image id: probability of a finding}, or None.
    """

    def __init__(self, rows: dict[str, str], classified: dict[str, float] | None):
        self._rows, self._classified = rows, classified
        self._areas: list[float] = []
        self._largest: list[tuple[float, str, Tile]] = []

    def add(self, image_id: str, image: np.ndarray, mask: np.ndarray, how: str) -> None:
        """Adds one image.

        Args:
          image_id: its id.
          image: [S, S] uint8.
          mask: [H, W] uint8 of 0 and 1, of the source.
          how: the dataset's aspect policy, see data_prep/dataset/aspect.py.
        """
        area = mask.mean() * _REFERENCE_PX**2
        if not area:
            return
        self._areas.append(area)
        caption = f"{area:,.0f} px"
        if self._classified:
            caption += f", classifiers {self._classified[image_id]:.2f}"
        square = aspect.to_square(mask, how)
        tile = Tile(
            image=image,
            truth=np.zeros_like(square),
            prediction=square,
            alt=f"Predicted pneumothorax of {area:,.0f} pixels",
            caption=caption,
            image_id=image_id,
        )
        heapq.heappush(self._largest, (area, image_id, tile))
        if len(self._largest) > _SHOWN:
            heapq.heappop(self._largest)

    def page(self, request: dict) -> str:
        """Returns the page.

        Args:
          request: what decided the prediction, as it is kept in its folder.
        """
        total, masks = len(self._rows), len(self._areas)
        empty = sum(encoded == rle.EMPTY for encoded in self._rows.values())
        lead = (
            f"<h1>{TITLE}</h1><p>{total:,} images: a mask on {masks:,} "
            f"({masks / total:.1%}), {empty:,} left empty. No truth was given: this "
            "page says what was predicted, not how well.</p>"
        )
        body = [lead]
        if self._classified:
            values = np.array(list(self._classified.values()))
            counts = np.histogram(values, _BINS, (0, 1))[0]
            names = [f"{k / _BINS:g}" for k in range(_BINS)]
            axis = "Probability by the classifiers, lower end of the bin"
            body += [
                "<h2>Classifiers</h2>",
                charts.bars(counts, names, axis, every=2),
            ]
        if masks:
            edges = [*_AREAS, _REFERENCE_PX**2 + 1]
            counts = np.histogram(self._areas, edges)[0]
            names = [f"{area:,}" for area in _AREAS]
            axis = "Area in pixels of 1024 x 1024, lower end of the bin"
            body += [
                "<h2>Areas</h2>",
                f"<p>Median {np.median(self._areas):,.0f} pixels.</p>",
                charts.bars(counts, names, axis),
                f"<h2>Largest masks</h2><p>{len(self._largest)} of {masks:,}.</p>",
            ]
            tiles = [tile for _, _, tile in sorted(self._largest, reverse=True)]
            drawn = "".join(gallery.figure(tile) for tile in tiles)
            body.append(f'<div class="cases">{drawn}</div>')
        facts = [
            ("members", str(len(request["members"]))),
            ("views", ", ".join(request["tta"])),
            ("classifiers", str(len(request["classifiers"]))),
            ("post-processing", str(request["postprocess"])),
        ]
        listed = "".join(
            f"<li>{name}: {html.escape(value)}</li>" for name, value in facts
        )
        body.append(f"<h2>How it was predicted</h2><ul>{listed}</ul>")
        style = charts.STYLE + gallery.STYLE + _STYLE
        return web_page.document(TITLE, "".join(body), style=style)
