"""Validation images with the outlines of truth and prediction, drawn by NumPy alone.

Unlike data_prep/core/outlines.py it also draws the borders of holes, and none along
the edge of the image.
"""

import numpy as np
import tensorflow as tf

NUM_POSITIVES = 6
NUM_NEGATIVES = 2
_TRUTH = np.array([60, 200, 90], np.uint8)
_PREDICTION = np.array([255, 150, 40], np.uint8)


def choose(validation: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first images of each class, and their masks.

    Args:
      validation: batches of "image", "mask" and "valid".

    Returns:
      Images and masks, [N, S, S, 1] uint8 each.
    """
    missing = {True: NUM_POSITIVES, False: NUM_NEGATIVES}
    images, truths = [], []
    for batch in validation:
        for image, mask, valid in zip(
            *(batch[key].numpy() for key in ("image", "mask", "valid")), strict=True
        ):
            positive = bool(mask.any())
            if valid and missing[positive]:
                missing[positive] -= 1
                images.append(image)
                truths.append(mask)
        if not any(missing.values()):
            break
    return np.stack(images), np.stack(truths)


def draw(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Draws both outlines, the prediction over the truth.

    Args:
      image: [S, S] uint8.
      truth: [S, S] bool; its outline is green.
      prediction: [S, S] bool; its outline is orange.

    Returns:
      [S, S, 3] uint8 RGB.
    """
    drawn = np.repeat(image[..., np.newaxis], 3, axis=-1)
    drawn[outline(truth)] = _TRUTH
    drawn[outline(prediction)] = _PREDICTION
    return drawn


def outline(mask: np.ndarray) -> np.ndarray:
    """Returns the pixels of a mask with one of their four neighbors outside the mask.

    Args:
      mask: [S, S] bool; beyond its edge it continues with the value at the edge.

    Returns:
      [S, S] bool.
    """
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner
