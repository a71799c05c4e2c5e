"""Masks as runs along the rows in a TensorFlow graph: areas, components and holes.

It is inference/masks/mask_runs.py in other words, which explains the method; there the
runs go down the columns, which makes no difference to components and holes.
"""

from typing import NamedTuple

import tensorflow as tf


class GraphRuns(NamedTuple):
    """A mask of one image.

    A position counts along the rows. Each row ends with one position that is never set:
    position = row * (width + 1) + column.

    Attributes:
      starts: [N] int64, position of each run's first pixel, ascending.
      ends: [N] int64, the position after its last pixel.
      height: scalar int64, of the image, in pixels.
      width: scalar int64, of the image, in pixels.
    """

    starts: tf.Tensor
    ends: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor

    def areas(self) -> tf.Tensor:
        """Returns the number of pixels of each run, [N] int64."""
        return self.ends - self.starts

    def select(self, keep: tf.Tensor) -> "GraphRuns":
        """Returns the runs for which `keep`, [N] bool, is set."""
        starts, ends = (tf.boolean_mask(x, keep) for x in (self.starts, self.ends))
        return self._replace(starts=starts, ends=ends)

    def component_areas(self) -> tf.Tensor:
        """Returns the area of each run's component (8 neighbours), [N] int64."""
        labels = _labels(self.starts, self.ends, self.width + 1, corners=True)
        count = tf.size(labels, tf.int64)
        sums = tf.math.unsorted_segment_sum(self.areas(), labels, count)
        return tf.gather(sums, labels)

    def without_holes(self) -> "GraphRuns":
        """Returns the mask without background that is cut off (4 neighbours)."""
        stride = self.width + 1
        # The frame of one pixel joins all background that reaches the border.
        framed = stride + 2
        rows = tf.range(self.height + 2) * framed
        edges = tf.concat([self.starts, self.ends], axis=0)
        inside = (edges // stride + 1) * framed + edges % stride + 1
        background = tf.sort(tf.concat([rows, rows + stride + 1, inside], axis=0))
        starts, ends = background[::2], background[1::2]
        labels = _labels(starts, ends, framed, corners=False)
        in_hole = labels != labels[0]
        holes = tf.concat([tf.boolean_mask(x, in_hole) for x in (starts, ends)], 0)
        holes = (holes // framed - 1) * stride + holes % framed - 1
        # A run of a hole starts where a run of the mask ends, and the reverse.
        both = tf.sort(tf.concat([edges, holes], axis=0))
        differs = tf.concat([[True], both[1:] != both[:-1], [True]], axis=0)
        left = tf.boolean_mask(both, differs[1:] & differs[:-1])
        return self._replace(starts=left[::2], ends=left[1::2])

    def mask(self) -> tf.Tensor:
        """Returns [height, width] uint8 of 0 and 1."""
        places = tf.concat([self.starts, self.ends], axis=0)[:, tf.newaxis]
        ones = tf.ones_like(self.starts, tf.int32)
        steps = tf.scatter_nd(
            places,
            tf.concat([ones, -ones], axis=0),
            [self.height * (self.width + 1)],
        )
        inside = tf.reshape(tf.cumsum(steps), [self.height, self.width + 1])
        return tf.cast(inside[:, :-1], tf.uint8)


def from_mask(mask: tf.Tensor) -> GraphRuns:
    """Finds the runs of [height, width] bool."""
    shape = tf.shape(mask, tf.int64)
    framed = tf.pad(mask, [[0, 0], [1, 1]])
    edges = tf.where(tf.reshape(framed[:, 1:] != framed[:, :-1], [-1]))[:, 0]
    return GraphRuns(edges[::2], edges[1::2], shape[0], shape[1])


def _labels(
    starts: tf.Tensor, ends: tf.Tensor, stride: tf.Tensor, *, corners: bool
) -> tf.Tensor:
    """Returns, for each run, the smallest index of a run connected to it, [N] int64."""
    sides = ("left", "right") if corners else ("right", "left")
    first, after_last = (
        tf.searchsorted(in_, of + stride, side, tf.int64)
        for in_, of, side in zip((ends, starts), (starts, ends), sides, strict=True)
    )
    counts = after_last - first
    count = tf.size(starts, tf.int64)
    left = tf.repeat(tf.range(count), counts)
    offsets = tf.cumsum(counts) - counts
    right = tf.range(tf.size(left, tf.int64)) + tf.repeat(first - offsets, counts)

    def ends_of(roots):
        return tf.gather(roots, left), tf.gather(roots, right)

    def hook(roots):
        one, other = ends_of(roots)
        least = tf.math.unsorted_segment_min(
            tf.minimum(one, other), tf.maximum(one, other), count
        )
        return [_shortened(tf.minimum(roots, least))]

    def separate(roots):
        one, other = ends_of(roots)
        return tf.reduce_any(one != other)

    return tf.while_loop(separate, hook, [tf.range(count)])[0]


def _shortened(roots: tf.Tensor) -> tf.Tensor:
    """Lets every run point to its root, by halving the paths."""
    return tf.while_loop(
        lambda roots: tf.reduce_any(tf.gather(roots, roots) != roots),
        lambda roots: [tf.gather(roots, roots)],
        [roots],
    )[0]
