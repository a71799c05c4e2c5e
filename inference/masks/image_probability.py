"""The probability that an image has a pneumothorax, and its calibration."""

import numpy as np

# A probability of 0 or 1 has no finite logit.
_EPSILON = 2.0**-24


def of_map(values: np.ndarray) -> float:
    """Returns the probability of an image that no classifier has seen.

    It is that of its likeliest pixel: the image has a mask from the threshold on that
    this pixel reaches.

    Args:
      values: [S, S] float in 0..1, the mean map of the segmenters.
    """
    return float(values.max())


def calibrated(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities whose logits are divided by a temperature.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Args:
      probability: float in 0..1, of any shape.
      temperature: above 0; 1 changes nothing but rounding.

    Returns:
      float64 in 0..1, of the same shape.
    """
    p = np.clip(np.asarray(probability, np.float64), _EPSILON, 1 - _EPSILON)
    return 1 / (1 + ((1 - p) / p) ** (1 / temperature))
