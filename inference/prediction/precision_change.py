"""What a number format changes in a prediction, against float32.

The first chunk of a prediction is predicted in both, and stands for the others.
"""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from data_prep.dataset import rle
from inference.ensemble.cascade import Prediction
from inference.inputs.chunks import ImageChunk
from inference.prediction.row import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """The largest changes among some images.

    Attributes:
      images: number of images.
      probability: of a pixel, in 0..1; None if no image was segmented in both formats.
      classifier: of the classifiers' probability, in 0..1; None without classifiers.
      mask_pixels: pixels that differ in the mask that differs most, at the size of its
        source image; None if no masks are made.
      mask_share: that number as a share of the image's pixels, in 0..1, or None.
      masks: number of masks that differ, or None.
    """

    images: int
    probability: float | None
    classifier: float | None
    mask_pixels: int | None
    mask_share: float | None
    masks: int | None

    def __str__(self) -> str:
        parts = []
        if self.probability is not None:
            parts.append(f"probabilities change by at most {self.probability:.2g}")
        if self.classifier is not None:
            subject = "the classifiers'" if parts else "the classifiers' change"
            parts.append(f"{subject} by at most {self.classifier:.2g}")
        if self.masks is not None:
            parts.append(
                f"masks by at most {self.mask_pixels} pixels "
                f"({100 * self.mask_share:.2g} %)"
            )
            parts.append(f"{self.masks} of {self.images} masks differ")
        return f"on the first {self.images} images " + ", ".join(parts)


def log(precision: str, change: Change) -> None:
    """Says what a value of --predict_precision changes."""
    logging.info("predict_precision=%s: %s", precision, change)


def measure(
    images: ImageChunk,
    predictions: tuple[Prediction, Prediction],
    rows: tuple[Sequence[Row], Sequence[Row]],
) -> Change:
    """Compares two predictions of the same images, and the rows made from them."""
    maps = [
        np.abs(a.astype(np.float32) - b.astype(np.float32)).max()
        for a, b in zip(*(p.maps or () for p in predictions), strict=True)
        if a is not None and b is not None
    ]
    classified = [p.probabilities for p in predictions if p.probabilities is not None]
    differing = _mask_pixels(images, rows)
    sizes = np.multiply(images.heights, images.widths)
    most = int(np.argmax(differing)) if differing is not None else 0
    return Change(
        images=len(images.ids),
        probability=float(max(maps)) if maps else None,
        classifier=(
            float(np.abs(np.subtract(*classified)).max()) if classified else None
        ),
        mask_pixels=int(differing[most]) if differing is not None else None,
        mask_share=(
            float(differing[most] / sizes[most]) if differing is not None else None
        ),
        masks=int(np.count_nonzero(differing)) if differing is not None else None,
    )


def _mask_pixels(
    images: ImageChunk, rows: tuple[Sequence[Row], Sequence[Row]]
) -> np.ndarray | None:
    """Returns the number of pixels in which the masks of each image differ, or None."""
    if rows[0][0].rle is None:
        return None
    counts = []
    columns = (images.heights, images.widths, *rows)
    for height, width, a, b in zip(*columns, strict=True):
        first, second = (rle.decode(row.rle, height, width) for row in (a, b))
        counts.append(np.count_nonzero(first != second))
    return np.array(counts)
