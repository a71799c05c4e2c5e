"""What the guard measures on a film itself, in TensorFlow operations.

A film is described by four groups of numbers that do not depend on a network:

grey      the histogram's 16 bins as square roots of their shares, mean, standard
          deviation, skewness, kurtosis, and the shares of black and of white
edges     strength of edges and of the finest detail, how peaked the strength is, how
          edges lie (moments of the doubled and fourfold angle), where they are (4 x 4)
spectrum  log power in 12 rings of the film at 64 pixels, its slope, and the shares of
          four directions
layout    8 x 8 mean brightness, its likeness to its mirror image, to the film upside
          down and to the turned film, brighter side and half, and the lung-like area:
          how much is dark left, right, above, below and in the middle

All are of the order of 1. They run on the CPU, whatever device predicts, and an image's
numbers depend on the batch by rounding at most. The spectrum is a product with
constant matrices, which every export of a graph knows.
"""

import numpy as np
import tensorflow as tf

_BINS = 16
_SMALL, _MIDDLE = 64, 128
_RINGS = 12
_SECTORS = 4
_CPU = "/CPU:0"
# Numbers of each group; their order in the result of `of_images`.
SIZES = {"grey": _BINS + 6, "edges": 8 + 16, "spectrum": _RINGS + 1 + 4, "layout": 76}
# A description of other features is of no use.
VERSION = 1
# Spread below which two films do not differ, added to the spread of each number: what
# no training film shows at all would otherwise decide alone.
FLOOR = 0.02


def of_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the groups of some films.

    Args:
      images: [B, S, S, 1] as stored, uint8 or float in 0..255; S is static, and a
        multiple of 32.

    Returns:
      {group: [B, SIZES[group]] float32}, finite for all images.
    """
    with tf.device(_CPU):
        full = tf.cast(images, tf.float32) / 255
        middle = _reduced(full, min(_MIDDLE, full.shape[1]))
        small = _reduced(middle, _SMALL)[..., 0]
        return {
            "grey": _grey(full, middle),
            "edges": _edges(full, middle),
            "spectrum": _spectrum(small),
            "layout": _layout(small),
        }


def _reduced(images: tf.Tensor, size: int) -> tf.Tensor:
    side = images.shape[1]
    if side == size:
        return images
    if side % size == 0:
        return tf.nn.avg_pool2d(images, side // size, side // size, "VALID")
    return tf.image.resize(images, [size, size], method="bilinear", antialias=True)


def _grey(full: tf.Tensor, middle: tf.Tensor) -> tf.Tensor:
    flat = _flat(middle)
    below = [
        tf.reduce_mean(tf.cast(flat < k / _BINS, tf.float32), axis=1)
        for k in range(1, _BINS)
    ]
    ends = [tf.zeros_like(below[0]), *below, tf.ones_like(below[0])]
    bins = [
        tf.sqrt(tf.maximum(b - a, 0.0))
        for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]
    mean = tf.reduce_mean(flat, axis=1, keepdims=True)
    off = flat - mean
    std = tf.sqrt(tf.reduce_mean(off**2, axis=1, keepdims=True))
    relative = off / (std + 0.01)
    all_grey = _flat(full)
    black, white = (
        tf.sqrt(tf.reduce_mean(tf.cast(is_end, tf.float32), axis=1))
        for is_end in (all_grey < 0.5 / 255, all_grey > 254.5 / 255)
    )
    moments = [
        2 * mean[:, 0],
        4 * std[:, 0],
        0.5 * tf.reduce_mean(relative**3, axis=1),
        tf.math.log1p(tf.reduce_mean(relative**4, axis=1)),
    ]
    return tf.stack([*bins, *moments, black, white], axis=1)


def _edges(full: tf.Tensor, middle: tf.Tensor) -> tf.Tensor:
    x = middle[:, 1:-1, 2:, 0] - middle[:, 1:-1, :-2, 0]
    y = middle[:, 2:, 1:-1, 0] - middle[:, :-2, 1:-1, 0]
    strength = tf.sqrt(x**2 + y**2 + 1e-8)
    mean = _mean(strength)
    # Of the doubled angle, which is the same for both sides of an edge, and of twice
    # that, weighted by strength; no angle has to be computed.
    double = (x**2 - y**2) / strength, 2 * x * y / strength
    fourfold = (
        (double[0] ** 2 - double[1] ** 2) / strength,
        2 * double[0] * double[1] / strength,
    )
    detail = tf.abs(full - tf.nn.avg_pool2d(full, 3, 1, "SAME"))
    middle_detail = tf.abs(middle - tf.nn.avg_pool2d(middle, 3, 1, "SAME"))
    scalars = [
        _log(mean),
        _log(_mean(detail[..., 0])),
        _log(_mean(middle_detail[..., 0])),
        0.5 * tf.math.log(_mean(strength**2) / mean**2),
        *(_mean(part) / mean for part in (*double, *fourfold)),
    ]
    padded = tf.pad(strength, [[0, 0], [1, 1], [1, 1]])[..., tf.newaxis]
    side = padded.shape[1] // 4
    where = _flat(tf.nn.avg_pool2d(padded, side, side, "VALID"))
    return tf.concat(
        [tf.stack(scalars, axis=1), 0.5 * where / mean[:, tf.newaxis]], axis=1
    )


def _spectrum(small: tf.Tensor) -> tf.Tensor:
    window, cosine, sine, rings, sectors, slope = _spectral_constants()
    image = small * window
    image -= window * (
        tf.reduce_sum(image, axis=[1, 2], keepdims=True) / np.float32(window.sum())
    )
    real = _both(cosine, image, cosine) - _both(sine, image, sine)
    imaginary = _both(cosine, image, sine) + _both(sine, image, cosine)
    power = _flat(real**2 + imaginary**2)
    bands = _log(tf.matmul(power, rings), least=1e-6) / 3
    of_sectors = tf.matmul(power, sectors)
    total = tf.reduce_sum(of_sectors, axis=1, keepdims=True)
    shares = tf.sqrt(of_sectors / (total + 1e-6))
    return tf.concat([bands, tf.matmul(bands, slope), shares], axis=1)


def _both(left: np.ndarray, image: tf.Tensor, right: np.ndarray) -> tf.Tensor:
    return tf.einsum("ij,bjk,kl->bil", left, image, right)


def _spectral_constants() -> tuple[np.ndarray, ...]:
    """Returns a window, matrices of the transform, rings, sectors and slope weights."""
    at = np.arange(_SMALL)
    hann = np.sin(np.pi * (at + 0.5) / _SMALL) ** 2
    angle = 2 * np.pi * np.outer(at, at) / _SMALL
    frequency = np.minimum(at, _SMALL - at) * np.where(at > _SMALL // 2, -1, 1)
    v, u = np.meshgrid(frequency, frequency, indexing="ij")
    radius = np.hypot(u, v)
    edges = np.geomspace(1, _SMALL / 2, _RINGS + 1)
    rings = np.stack(
        [
            (radius >= low) & (radius < high + (k == _RINGS - 1))
            for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True))
        ],
        axis=-1,
    ).reshape(-1, _RINGS)
    # Narrow rings may hold no frequency of the grid.
    rings = rings / np.maximum(rings.sum(axis=0), 1)
    turn = np.mod(np.arctan2(v, u) + np.pi / (2 * _SECTORS), np.pi)
    sector = (turn // (np.pi / _SECTORS)).astype(int)
    is_in = (radius >= 2) & (radius <= _SMALL / 2)
    sectors = [(sector == k) & is_in for k in range(_SECTORS)]
    middle = np.log(edges[:-1] * edges[1:]) / 2
    slope = (middle - middle.mean()) / ((middle - middle.mean()) ** 2).sum()
    arrays = (
        np.outer(hann, hann),
        np.cos(angle),
        np.sin(angle),
        rings,
        np.stack(sectors, axis=-1).reshape(-1, _SECTORS),
        slope[:, np.newaxis],
    )
    return tuple(a.astype(np.float32) for a in arrays)


def _layout(small: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(small, axis=[1, 2], keepdims=True)
    off = small - mean
    spread = tf.sqrt(tf.reduce_mean(off**2, axis=[1, 2], keepdims=True)) + 0.02
    relative = off / spread
    grid = tf.nn.avg_pool2d(relative[..., tf.newaxis], 8, 8, "VALID")
    likeness = [
        _mean(relative * other)
        for other in (
            tf.reverse(relative, [2]),
            tf.reverse(relative, [1]),
            tf.transpose(relative, [0, 2, 1]),
            tf.reverse(relative, [1, 2]),
        )
    ]
    half = _SMALL // 2
    brighter = [
        _mean(relative[:, :, :half]) - _mean(relative[:, :, half:]),
        _mean(relative[:, :half]) - _mean(relative[:, half:]),
    ]
    dark = tf.sigmoid(-6 * relative[:, 8:-8, 6:-6])
    middle = dark.shape[2] // 2
    areas = [
        _mean(dark[:, :, : middle - 4]),
        _mean(dark[:, :, middle + 4 :]),
        _mean(dark[:, : dark.shape[1] // 2]),
        _mean(dark[:, dark.shape[1] // 2 :]),
        _mean(dark[:, :, middle - 4 : middle + 4]),
        tf.abs(_mean(dark[:, :, : middle - 4]) - _mean(dark[:, :, middle + 4 :])),
    ]
    return tf.concat(
        [0.5 * _flat(grid), tf.stack([*likeness, *brighter, *areas], axis=1)], axis=1
    )


def _mean(images: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(images, axis=[1, 2])


def _flat(images: tf.Tensor) -> tf.Tensor:
    return tf.reshape(images, [-1, int(np.prod(images.shape[1:]))])


def _log(values: tf.Tensor, least: float = 1e-3) -> tf.Tensor:
    return tf.math.log(values + least)
