"""Mean probabilities as an ensemble would give them, drawn from a seed.

The sizes of lesions follow the competition's union masks: of 2,669 positive images,
10 % are below 2,005 pixels at 1024, 50 % below 8,630, 90 % below 33,430; 77 % have
one lesion, 17 % two, 6 % three or more.
"""

import dataclasses

import cv2
import numpy as np

_MEDIAN_PX = 8630
_SIGMA = 1.1
_AT = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix:
    """What a set of images holds.

    Attributes:
      positive: fraction with lesions.
      specks: fraction with false alarms below the seed's 2,048 pixels only.
    """

    positive: float = 0.22
    specks: float = 0.08


def draw(count: int, size: int, seed: int = 0, mix: Mix | None = None):
    """Draws probabilities.

    Returns:
      [count, size, size] float32 in 0..1. Their first `positive` part has lesions,
      the next `specks` part false alarms, the rest nothing above 0.5.
    """
    mix = mix or Mix()
    rng = np.random.default_rng(seed)
    num_positive = round(count * mix.positive)
    num_specks = round(count * mix.specks)
    images = []
    for k in range(count):
        if k < num_positive:
            number = rng.choice([1, 2, 3], p=[0.77, 0.17, 0.06])
            # The largest survives the removal: these are the non-empty ones.
            area = np.exp(rng.normal(np.log(_MEDIAN_PX), _SIGMA)).clip(3000, 161421)
            areas = [area, *rng.uniform(500, 8000, number - 1)]
        elif k < num_positive + num_specks:
            number = rng.integers(1, 4)
            areas = rng.uniform(900, 1600, number) / number
        else:
            areas = []
        images.append(_image(areas, size, rng))
    return np.stack(images)


def _image(areas, size, rng) -> np.ndarray:
    """Draws soft ellipses, long and upright like a pleural line, over low noise."""
    rows, columns = (np.mgrid[:size, :size] + 0.5) * (_AT / size)
    logit = np.full((size, size), -4.0)
    for area in areas:
        slender = rng.uniform(1.5, 5)
        a = np.sqrt(area * slender / np.pi)
        b = a / slender
        y = rng.uniform(min(a, 400), _AT - min(a, 400))
        x = rng.choice([rng.uniform(150, 400), rng.uniform(624, 874)])
        tilt = rng.uniform(-0.4, 0.4)
        u = (rows - y) * np.cos(tilt) + (columns - x) * np.sin(tilt)
        v = (columns - x) * np.cos(tilt) - (rows - y) * np.sin(tilt)
        distance = (1 - np.sqrt((u / a) ** 2 + (v / b) ** 2)) * b
        logit = np.maximum(logit, np.clip(distance / 6, -4, 4))
    grain = cv2.GaussianBlur(rng.standard_normal((size, size)), None, 0.004 * size)
    logit += 0.5 * grain / grain.std()
    return (1 / (1 + np.exp(-logit))).astype(np.float32)
