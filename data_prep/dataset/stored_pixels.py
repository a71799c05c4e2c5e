"""The pixels of a record, checked, and their intensities.

Apart from data_prep/build/image_records.py because reading a dataset needs no DICOM
library, and strict because nobody has checked these bytes yet.
"""

import cv2
import numpy as np

ENCODINGS = ("raw", "png")


def decode(stored: bytes, size: int, encoding: str) -> np.ndarray:
    """Returns the image of a record, [size, size] uint8 in 0..255.

    Raises:
      ValueError: the bytes are no such image; the message says what they are.
    """
    if encoding == "raw":
        if len(stored) != size * size:
            raise ValueError(f"{len(stored)} bytes of pixels instead of {size * size}")
        return np.frombuffer(stored, np.uint8).reshape(size, size)
    # OpenCV raises for an empty buffer and returns None for any other non-image.
    array = np.frombuffer(stored, np.uint8)
    image = cv2.imdecode(array, cv2.IMREAD_UNCHANGED) if stored else None
    if image is None:
        raise ValueError("pixels that are no PNG or a damaged one")
    if image.shape != (size, size) or image.dtype != np.uint8:
        raise ValueError(
            f"a PNG of shape {image.shape} and type {image.dtype} instead of "
            f"{(size, size)} and uint8"
        )
    return image


def histogram(image: np.ndarray) -> np.ndarray:
    """Returns how many pixels have each value: [256] int64."""
    return np.bincount(image.ravel(), minlength=256)


def mean_and_std(histogram: np.ndarray) -> tuple[float, float]:
    """Returns mean and standard deviation of a [256] histogram, in 0..255.

    From exact sums, as the conversion forms them; 0 and 0 for no pixels.
    """
    values = np.arange(256)
    count = max(1, int(histogram.sum()))
    mean = int(histogram @ values) / count
    variance = int(histogram @ values**2) / count - mean * mean
    return mean, max(0.0, variance) ** 0.5
