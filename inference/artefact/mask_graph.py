"""Makes the mask of a film from its map of probabilities, in a TensorFlow graph.

The masks are those of `inference.masks.postprocess.Postprocess.rle`, on a processor
with x86 instructions bit for bit, see opencv_bilinear.py.
"""

import numpy as np
import tensorflow as tf

from data_prep.dataset import reference_area
from inference.artefact import graph_runs
from inference.artefact import opencv_bilinear
from inference.artefact.graph_runs import GraphRuns
from inference.masks import mask_filters
from inference.masks.postprocess import Postprocess

# No enlarged value is above the largest cell by more.
_SLACK = 2.0**-20


@tf.autograph.experimental.do_not_convert
def mask(
    values: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    *,
    aspect: str,
    postprocess: Postprocess,
    probability: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Enlarges the map of one film and makes its mask.

    Args:
      values: [S, S] float16 in 0..1, the mean map; S is known. A value that is not a
        number is not in the mask, so it is for the caller to refuse such a map.
      height: scalar int32, of the film, in pixels.
      width: scalar int32.
      aspect: the dataset's policy, see data_prep/dataset/aspect.py.
      postprocess: the steps.
      probability: scalar float, of a pneumothorax in the image, which a gate needs.

    Returns:
      [height, width] float32, the map at the film's size, and [height, width] uint8,
      the mask of 0 and 1.
    """
    values = tf.cast(values, tf.float32)
    enlarged = _enlarged(values, height, width, aspect)
    can_have_mask = tf.reduce_max(values) >= postprocess.triplet.bottom - _SLACK
    if postprocess.gate is not None:
        can_have_mask &= tf.cast(probability, tf.float64) >= postprocess.gate
    # Most films end here.
    return enlarged, tf.cond(
        can_have_mask,
        lambda: _mask(enlarged, height, width, postprocess),
        lambda: tf.zeros([height, width], tf.uint8),
    )


def _mask(
    enlarged: tf.Tensor, height: tf.Tensor, width: tf.Tensor, postprocess: Postprocess
) -> tf.Tensor:
    triplet = postprocess.triplet
    mask = enlarged >= np.float32(triplet.bottom)
    evidence = enlarged >= np.float32(triplet.top)
    evidence = tf.reduce_sum(tf.cast(evidence, tf.int32))
    has_mask = _at_least(evidence, triplet.min_area, height, width)
    return tf.cond(
        has_mask & tf.reduce_any(mask),
        lambda: _filtered(mask, postprocess.filters),
        lambda: tf.zeros_like(mask, tf.uint8),
    )


def _enlarged(
    values: tf.Tensor, height: tf.Tensor, width: tf.Tensor, aspect: str
) -> tf.Tensor:
    """Does what `data_prep.dataset.aspect.from_square` does."""
    if aspect == "pad":
        side = tf.maximum(height, width)
        covered = side, side
    else:
        covered = height, width
    start = (covered[0] - height) // 2, (covered[1] - width) // 2
    return opencv_bilinear.resize(values, covered, start, (height, width))


def _filtered(mask: tf.Tensor, filters: tuple[mask_filters.Filter, ...]) -> tf.Tensor:
    """Applies filters to [H, W] bool; returns uint8."""
    if not filters:
        return tf.cast(mask, tf.uint8)
    runs = graph_runs.from_mask(mask)
    for one in filters:
        if isinstance(one, mask_filters.MinArea):
            runs = _without_small(runs, one)
        else:
            runs = tf.cond(
                tf.size(runs.starts) > 0, runs.without_holes, lambda runs=runs: runs
            )
    return runs.mask()


def _without_small(runs: GraphRuns, least: mask_filters.MinArea) -> GraphRuns:
    if least.per == "component":
        areas = runs.component_areas()
    else:
        areas = tf.fill(tf.shape(runs.starts), tf.reduce_sum(runs.areas()))
    keep = _at_least(areas, least.pixels, runs.height, runs.width)
    return runs.select(keep)


def _at_least(num_pixels, area: float, height, width) -> tf.Tensor:
    """Does what `reference_area.at_least` does; all products are exact in float64."""
    num_pixels, height, width = (
        tf.cast(x, tf.float64) for x in (num_pixels, height, width)
    )
    return num_pixels * reference_area.AREA_PX >= area * (height * width)
