"""Draws chest phantoms with and without a pneumothorax.

No real film was used. Lungs are dark ellipses with vessels, ribs are bright arcs. A
pneumothorax is the rim between the chest wall and a collapsed lung, at the apex or
along the side: darker than the lung, without vessels, behind a thin bright pleural
line.
"""

import dataclasses

import cv2
import numpy as np

# All geometry is given in a frame of 1024 pixels and scaled to the image's size.
_FRAME = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phantom:
    """One drawn image.

    Attributes:
      image: [S, S] uint8.
      mask: [S, S] uint8, 1 where there is a pneumothorax.
    """

    image: np.ndarray
    mask: np.ndarray


def draw(rng: np.random.Generator, *, size: int, pneumothorax: bool) -> Phantom:
    """Draws one phantom; the same generator state gives the same pixels."""
    centre = np.array([512 + rng.uniform(-30, 30), 500 + rng.uniform(-40, 40)])
    scale = rng.uniform(0.88, 1.08)
    lungs = [_lung(rng, centre, scale, side) for side in (-1, 1)]
    image = _torso(rng, centre, scale, size)
    air = np.zeros((size, size), np.float32)
    for lung in lungs:
        air = np.maximum(air, _soften(_fill(lung, size), 5 * size / _FRAME))
    depth = rng.uniform(72, 96)
    image -= depth * air
    vessels = _vessels(rng, lungs, centre, size) * air
    mask = np.zeros((size, size), np.uint8)
    pleura = np.zeros((size, size), np.float32)
    if pneumothorax:
        mask, pleura = _collapse(rng, lungs[rng.integers(2)], size)
    rim = _soften(mask, 2 * size / _FRAME)
    image += vessels * (1 - rim)
    image -= rng.uniform(26, 44) * rim
    image += rng.uniform(24, 40) * pleura
    image += _ribs(rng, centre, scale, size)
    image += _heart_and_spine(rng, centre, scale, size)
    image += _noise(rng, size)
    return Phantom(image=np.clip(image, 0, 255).astype(np.uint8), mask=mask)


def _lung(rng, centre, scale, side) -> np.ndarray:
    """Returns the outline of a lung, [N, 2] float x and y in the frame."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    width = scale * rng.uniform(140, 164)
    height = scale * rng.uniform(290, 330)
    # The lung is narrower towards the apex and flatter on the side of the heart.
    taper = 1 + 0.28 * np.sin(angle)
    x = np.cos(angle) * width * taper
    x = np.where(x * side < 0, 0.72 * x, x)
    y = np.sin(angle) * height
    middle = centre + [side * scale * rng.uniform(194, 214), rng.uniform(-10, 10)]
    return np.stack([x, y], axis=1) + middle


def _collapse(rng, lung, size) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rim, [S, S] 0 or 1, and the pleural line, [S, S] in 0..1."""
    middle = (lung.min(axis=0) + lung.max(axis=0)) / 2
    extent = (lung.max(axis=0) - lung.min(axis=0)) / 2
    outward = np.sign(middle[0] - _FRAME / 2)
    # Large collapses are rarer, as in the competition's data.
    depth = 0.10 + 0.32 * rng.beta(1.2, 1.8)
    if rng.random() < 0.5:  # Apical: the lung sinks.
        toward, power = np.array([0.25 * outward, -1.0]), 1.5
    else:  # Lateral: the lung falls towards the heart.
        toward, power = np.array([outward, -0.35]), 1.2
    toward /= np.linalg.norm(toward)
    along = np.clip(((lung - middle) / extent) @ toward, 0, None) ** power
    shrunk = lung - (2.4 * depth * along)[:, None] * toward * extent.min()
    rim = _fill(lung, size) * (1 - _fill(shrunk, size))
    rim = rim.astype(np.uint8)
    # Remove the specks that rounding leaves where both outlines coincide.
    rim = cv2.morphologyEx(rim, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    line = np.zeros((size, size), np.uint8)
    thickness = max(1, round(4 * size / _FRAME))
    cv2.polylines(line, [_points(shrunk, size)], True, 1, thickness)
    near = cv2.dilate(rim, np.ones((3, 3), np.uint8), iterations=thickness)
    return rim, _soften(line * near, size / _FRAME)


def _torso(rng, centre, scale, size) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) * (_FRAME / size)
    inside = np.maximum(
        np.abs(x - centre[0]) / (430 * scale), np.abs(y - centre[1]) / 640
    )
    body = 1 / (1 + np.exp((inside - 1) * 40))
    shade = rng.uniform(-0.02, 0.02) * (x - 512) + rng.uniform(-0.02, 0.02) * (y - 512)
    return 12 + body * (rng.uniform(150, 172) + shade)


def _vessels(rng, lungs, centre, size) -> np.ndarray:
    """Draws branches that run outwards from each hilum and get thinner."""
    drawn = np.zeros((size, size), np.float32)
    for lung in lungs:
        middle = (lung.min(axis=0) + lung.max(axis=0)) / 2
        hilum = middle + 0.5 * (centre - middle) * [1, 0.2]
        for _ in range(26):
            target = lung[rng.integers(len(lung))] * 0.95 + middle * 0.05
            steps = np.linspace(0, rng.uniform(0.7, 1.0), 9)[:, None]
            path = hilum + steps * (target - hilum)
            path[1:-1] += rng.normal(0, 9, (7, 2))
            brightness = rng.uniform(14, 38)
            for k in range(8):
                width = max(1, round((9 - k) * size / _FRAME))
                ends = _points(path[k : k + 2], size)
                cv2.line(drawn, *map(tuple, ends.tolist()), brightness, width)
    texture = rng.normal(0, 1, (size // 8, size // 8)).astype(np.float32)
    texture = cv2.resize(texture, (size, size), interpolation=cv2.INTER_CUBIC)
    return _soften(drawn, 1.5 * size / _FRAME) + 5 * texture


def _ribs(rng, centre, scale, size) -> np.ndarray:
    drawn = np.zeros((size, size), np.float32)
    gap = scale * rng.uniform(66, 76)
    for row in range(9):
        top = centre[1] - 300 * scale + row * gap
        for side in (-1, 1):
            t = np.linspace(0, 1, 24)
            x = centre[0] + side * scale * (40 + 330 * np.sin(t * np.pi / 2))
            y = top - 20 * np.sin(t * np.pi) + 105 * t**2
            points = _points(np.stack([x, y], axis=1), size)
            thickness = max(1, round(20 * size / _FRAME))
            cv2.polylines(drawn, [points], False, rng.uniform(13, 21), thickness)
    return _soften(drawn, 4 * size / _FRAME)


def _heart_and_spine(rng, centre, scale, size) -> np.ndarray:
    drawn = np.zeros((size, size), np.float32)
    unit = scale * size / _FRAME
    heart = (centre + [55 * scale, 150 * scale]) * size / _FRAME
    axes = (int(rng.uniform(105, 140) * unit), int(rng.uniform(125, 155) * unit))
    cv2.ellipse(drawn, _pixel(heart), axes, -25, 0, 360, 46, -1)
    spine = int(rng.uniform(30, 38) * unit)
    x = int(centre[0] * size / _FRAME)
    cv2.rectangle(drawn, (x - spine, 0), (x + spine, size), 40, -1)
    return _soften(drawn, 12 * size / _FRAME)


def _noise(rng, size) -> np.ndarray:
    fine = rng.normal(0, 4, (size // 2, size // 2)).astype(np.float32)
    coarse = rng.normal(0, 3, (8, 8)).astype(np.float32)
    return sum(
        cv2.resize(n, (size, size), interpolation=cv2.INTER_CUBIC)
        for n in (fine, coarse)
    )


def _fill(outline, size) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [_points(outline, size)], 1)
    return mask.astype(np.float32)


def _points(outline, size) -> np.ndarray:
    return np.rint(outline * size / _FRAME).astype(np.int32)


def _pixel(point) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _soften(image, sigma) -> np.ndarray:
    return cv2.GaussianBlur(np.float32(image), (0, 0), max(0.4, sigma))
