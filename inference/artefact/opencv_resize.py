"""Resizes uint8 images in a TensorFlow graph to the bits that OpenCV gives.

Source: OpenCV's modules/imgproc/src/resize.cpp. All of its arithmetic is repeated in
its order: tables in float64, sums of an area in float32, the linear method in fixed
point. The tests compare with OpenCV itself. One image has unknown height and width; the
result is a square of known side.
"""

import tensorflow as tf

# OpenCV ignores a rest of a pixel below this.
_LEAST_SHARE = 1e-3
# Weights of the linear method are multiples of 1 / 2048.
_ONE = 2048.0


def resize(image: tf.Tensor, size: int, interpolation: str) -> tf.Tensor:
    """Resizes as `data_prep.build.clahe.resize_image` does.

    Args:
      image: [H, W] uint8.
      size: of the result, in pixels.
      interpolation: "area" or "linear".

    Returns:
      [size, size] uint8.
    """
    height, width = _sides(image)
    unchanged = (height == size) & (width == size)
    # OpenCV halves an image by its area whatever the method.
    shrunk = (height == 2 * size) & (width == 2 * size)
    if interpolation == "area":
        shrunk |= (height >= size) & (width >= size)
    result = tf.cond(
        unchanged,
        lambda: image,
        lambda: tf.cond(
            shrunk,
            lambda: _shrunk(image, size),
            lambda: _linear(image, size, by_area=interpolation == "area"),
        ),
    )
    return tf.ensure_shape(result, [size, size])


def _shrunk(image: tf.Tensor, size: int) -> tf.Tensor:
    height, width = _sides(image)
    whole = (height % size == 0) & (width % size == 0)
    return tf.cond(
        whole, lambda: _whole_cells(image, size), lambda: _shared_cells(image, size)
    )


def _whole_cells(image: tf.Tensor, size: int) -> tf.Tensor:
    """Averages cells of whole pixels; their sums are exact."""
    height, width = _sides(image)
    down, across = height // size, width // size

    def summed(values: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        starts = tf.range(size) * step

        def add(k, total):
            return k + 1, total + tf.cast(tf.gather(values, starts + k), tf.float32)

        return _looped(add, values, size, step)

    sums = tf.transpose(summed(tf.transpose(summed(image, down)), across))
    share = 1 / tf.cast(down * across, tf.float64)
    # With 2 x 2 pixels OpenCV rounds a half up, otherwise to even.
    mean = tf.cond(
        (down == 2) & (across == 2),
        lambda: tf.floor((sums + 2) / 4),
        lambda: tf.round(sums * tf.cast(share, tf.float32)),
    )
    return tf.cast(mean, tf.uint8)


def _shared_cells(image: tf.Tensor, size: int) -> tf.Tensor:
    """Averages cells whose borders cut pixels."""
    height, width = _sides(image)
    # The columns come first: another order would round otherwise.
    rows = tf.transpose(_weighted(tf.transpose(image), width, size))
    return tf.cast(tf.round(_weighted(rows, height, size)), tf.uint8)


def _weighted(values: tf.Tensor, side: tf.Tensor, size: int) -> tf.Tensor:
    """Averages the rows of [side, N] to [size, N] float32."""
    double = tf.float64
    scale = 1 / (tf.constant(size, double) / tf.cast(side, double))
    start = tf.range(size, dtype=double) * scale
    end = start + scale
    cell = tf.minimum(scale, tf.cast(side, double) - start)
    last = tf.minimum(tf.floor(end), tf.cast(side - 1, double))
    first = tf.minimum(tf.math.ceil(start), last)
    before, behind = first - start, end - last
    is_cut = before > _LEAST_SHARE
    first_row = tf.where(is_cut, first - 1, first)

    def add(k, total):
        row = first_row + tf.cast(k, double)
        share = tf.where(row < last, tf.ones_like(row), tf.zeros_like(row))
        share = tf.where(is_cut & (k == 0), before, share)
        at_end = tf.where(behind > _LEAST_SHARE, tf.minimum(behind, 1), 0)
        share = tf.where(row == last, tf.minimum(at_end, cell), share)
        weights = tf.cast(share / cell, tf.float32)[:, tf.newaxis]
        taken = tf.gather(values, tf.cast(tf.minimum(row, last), tf.int32))
        return k + 1, total + tf.cast(taken, tf.float32) * weights

    longest = tf.cast(tf.reduce_max(last - first_row), tf.int32) + 1
    return _looped(add, values, size, longest)


def _looped(add, values: tf.Tensor, size: int, steps: tf.Tensor) -> tf.Tensor:
    """Returns the sum that `add` has made after some steps, [size, N] float32."""
    nothing = tf.zeros([size, tf.shape(values)[1]])
    return tf.while_loop(
        lambda k, _: k < steps,
        add,
        [0, nothing],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([size, None])],
        parallel_iterations=1,
    )[1]


def _linear(image: tf.Tensor, size: int, *, by_area: bool) -> tf.Tensor:
    """Interpolates in fixed point; "by_area" is how OpenCV enlarges by area."""
    height, width = _sides(image)
    top, bottom, of_top, of_bottom = _positions(height, size, by_area, inside=False)
    left, right, of_left, of_right = _positions(width, size, by_area, inside=True)

    def across(rows: tf.Tensor) -> tf.Tensor:
        values = tf.gather(image, rows)
        taken = [
            tf.cast(tf.gather(values, columns, axis=1), tf.int32) * weights
            for columns, weights in ((left, of_left), (right, of_right))
        ]
        return tf.bitwise.right_shift(taken[0] + taken[1], 4)

    above = across(top) * of_top[:, tf.newaxis]
    below = across(bottom) * of_bottom[:, tf.newaxis]
    total = tf.bitwise.right_shift(above, 16) + tf.bitwise.right_shift(below, 16)
    return tf.cast(tf.bitwise.right_shift(total + 2, 2), tf.uint8)


def _positions(side: tf.Tensor, size: int, by_area: bool, *, inside: bool):
    """Returns the two source places of each pixel, and their weights, [size] int32.

    OpenCV gives a column beyond the edge the whole weight ("inside"), but lets a row
    beyond it share with itself, which rounds otherwise.
    """
    inverse = tf.constant(size, tf.float64) / tf.cast(side, tf.float64)
    scale = 1 / inverse
    place = tf.range(size, dtype=tf.float64)
    if by_area:
        whole = tf.floor(place * scale)
        share = tf.cast((place + 1) - (whole + 1) * inverse, tf.float32)
        share = tf.where(share <= 0, 0.0, share - tf.floor(share))
        first = tf.cast(whole, tf.int32)
    else:
        exact = tf.cast((place + 0.5) * scale - 0.5, tf.float32)
        share = exact - tf.floor(exact)
        first = tf.cast(tf.floor(exact), tf.int32)
    if inside:
        share = tf.where((first < 0) | (first >= side - 1), 0.0, share)
    places = [tf.clip_by_value(p, 0, side - 1) for p in (first, first + 1)]
    weights = [tf.cast(tf.round(s * _ONE), tf.int32) for s in (1 - share, share)]
    return *places, *weights


def _sides(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    shape = tf.shape(image)
    return shape[0], shape[1]
