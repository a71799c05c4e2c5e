"""A prediction as an HTML page: counts, areas, the largest masks, and a viewer.

All but the viewer's films is in the page itself, which can so be mailed alone; the
films are files beside it, see film_index.py. It knows no truth; the page of
`inference.evaluate` compares a prediction with it.
"""

import heapq

import numpy as np

from data_prep.core import web_page
from data_prep.dataset import aspect
from data_prep.dataset import reference_area
from data_prep.dataset import rle
from inference.report import gallery
from inference.report.gallery import Tile

_SHOWN = 48
_AREAS = (1, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_BINS = 20


class Summary:
    """Collects images one by one and keeps in memory only those that the page shows."""

    def __init__(
        self,
        rows: dict[str, str],
        classified: dict[str, float] | None,
        *,
        num_left_out: int = 0,
    ):
        """Starts without images.

        Args:
          rows: {image id: RLE}.
          classified: {image id: probability of a pneumothorax}, or None.
          num_left_out: number of images without a row, as they are unlike those of
            the training.
        """
        self._rows, self._classified = rows, classified
        self._num_left_out = num_left_out
        self._areas: list[float] = []
        self._largest: list[tuple[float, str, Tile]] = []

    def add(
        self, image_id: str, image: np.ndarray, mask: np.ndarray, policy: str
    ) -> None:
        """Adds one image.

        Args:
          image_id: the image's id.
          image: [S, S] uint8.
          mask: [H, W] uint8 of 0 and 1, at the size of the source image.
          policy: the dataset's aspect policy, see data_prep/dataset/aspect.py.
        """
        area = mask.mean() * reference_area.AREA_PX
        if not area:
            return
        self._areas.append(area)
        caption = f"{area:,.0f} px"
        if self._classified:
            caption += f", classifiers {self._classified[image_id]:.2f}"
        square = aspect.to_square(mask, policy)
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

    def page(self, provenance: dict) -> str:
        """Returns the page.

        Args:
          provenance: of the prediction, see inference/prediction/provenance.py.
        """
        edges = [*_AREAS, reference_area.AREA_PX + 1]
        tiles = [tile for _, _, tile in sorted(self._largest, reverse=True)]
        viewer, source = web_page.script("inference.report", "viewer.js")
        return web_page.template("inference.report", "prediction.html.j2").render(
            num_images=len(self._rows),
            num_left_out=self._num_left_out,
            num_masks=len(self._areas),
            num_empty=sum(encoded == rle.EMPTY for encoded in self._rows.values()),
            classifiers=self._classified
            and {
                "counts": np.histogram([*self._classified.values()], _BINS, (0, 1))[0],
                "names": [f"{k / _BINS:g}" for k in range(_BINS)],
            },
            areas={
                "counts": np.histogram(self._areas, edges)[0],
                "names": [f"{area:,}" for area in _AREAS],
            },
            median_area=np.median(self._areas) if self._areas else 0,
            figures=[gallery.figure(tile) for tile in tiles],
            provenance=provenance,
            viewer=viewer,
            viewer_source=source,
        )
