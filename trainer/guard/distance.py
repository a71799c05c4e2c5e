"""How far a film is from a run's training films, in one group of features.

The distance is Mahalanobis's, by the covariance of the training films, shrunk towards a
multiple of the identity as Ledoit and Wolf 2004 do
(https://doi.org/10.1016/S0047-259X(03)00096-4): with fewer films than features it has
an inverse, too. The directions of least spread share one variance, so that a group of
a thousand features takes 64 times a thousand numbers to keep.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

MOST_DIRECTIONS = 64
# Of standardized features, whose variance is 1: what that along no direction falls
# below.
_LEAST_VARIANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance:
    """The training films of one group of F features.

    Attributes:
      mean: [F] float32.
      scale: [F] float32, by which features are divided; positive.
      basis: [F, K] float32, the K directions of most spread, orthonormal.
      variances: [K] float32, along them; positive.
      rest: the variance along each other direction; positive.
      centre: median distance of films that were not trained on.
      width: from there to the distance that one in twenty of them exceeds; positive.
    """

    mean: np.ndarray
    scale: np.ndarray
    basis: np.ndarray
    variances: np.ndarray
    rest: float
    centre: float
    width: float

    def of(self, features: tf.Tensor) -> tf.Tensor:
        """Returns standardized distances: 0 of the median film, 1 of one in twenty.

        Args:
          features: [B, F] float32.

        Returns:
          [B] float32.
        """
        x = (tf.cast(features, tf.float32) - self.mean) / self.scale
        along = tf.matmul(x, self.basis)
        left = tf.reduce_sum(x**2, axis=1) - tf.reduce_sum(along**2, axis=1)
        squared = tf.reduce_sum(along**2 / self.variances, axis=1)
        squared += tf.maximum(left, 0.0) / self.rest
        root = tf.sqrt(squared / len(self.mean))
        return (root - self.centre) / self.width

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the fields as arrays of float32."""
        fields = dataclasses.asdict(self)
        return {name: np.asarray(value, np.float32) for name, value in fields.items()}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Distance":
        """Returns what `arrays` wrote.

        Raises:
          ValueError: a shape or a value is not of a distance; says which.
        """
        size = len(np.atleast_1d(arrays["mean"]))
        if np.ndim(arrays["basis"]) != 2 or not 0 < arrays["basis"].shape[1] <= size:
            raise ValueError(f"basis has the shape {np.shape(arrays['basis'])}")
        count = arrays["basis"].shape[1]
        shapes = {"mean": (size,), "scale": (size,), "basis": (size, count)}
        shapes |= {"variances": (count,), "rest": (), "centre": (), "width": ()}
        for name, shape in shapes.items():
            if np.shape(arrays[name]) != shape:
                raise ValueError(f"{name} has the shape {np.shape(arrays[name])}")
            positive = name in ("scale", "variances", "rest", "width")
            if positive and not np.all(arrays[name] > 0):
                raise ValueError(f"{name} is not positive")
        single = {name: float(arrays[name]) for name in ("rest", "centre", "width")}
        return cls(**{name: arrays[name] for name in shapes} | single)


def fit(trained: np.ndarray, held_out: np.ndarray, *, floor: float) -> Distance:
    """Describes a group.

    Args:
      trained: [N, F], features of films that the run has trained on; N is 2 or more.
      held_out: [M, F], of films that it has not, M is 1 or more: features of a network
        lie closer together for the films that it learned.
      floor: spread of a feature that means nothing, added to its own.
    """
    mean = trained.mean(axis=0, dtype=np.float64)
    scale = np.sqrt(trained.var(axis=0, dtype=np.float64) + floor**2)
    x = (trained - mean) / scale
    basis, variances, rest = _shrunk(x)
    plain = Distance(
        mean=np.float32(mean),
        scale=np.float32(scale),
        basis=np.float32(basis),
        variances=np.float32(variances),
        rest=rest,
        centre=0.0,
        width=1.0,
    )
    found = plain.of(tf.constant(held_out, tf.float32)).numpy().astype(np.float64)
    centre = float(np.median(found))
    # Of few films the quantile says little, and of equal ones nothing.
    width = max(float(np.quantile(found, 0.95)) - centre, 0.1 * centre, 1e-3)
    return dataclasses.replace(plain, centre=centre, width=width)


def _shrunk(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns directions [F, K], variances [K] along them and that of the others."""
    count, size = x.shape
    _, singular, directions = np.linalg.svd(x, full_matrices=False)
    eigenvalues = np.zeros(size)
    eigenvalues[: len(singular)] = singular**2 / count
    eigenvalues = (1 - (alpha := shrinkage(x))) * eigenvalues
    eigenvalues += alpha * (x**2).sum() / (count * size)
    eigenvalues = np.maximum(eigenvalues, _LEAST_VARIANCE)
    kept = min(MOST_DIRECTIONS, len(singular))
    rest = float(eigenvalues[kept:].mean()) if kept < size else 1.0
    # The sign of a direction means nothing, and differs between libraries.
    basis = directions[:kept].T
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(kept)]
    return basis * np.where(largest < 0, -1, 1), eigenvalues[:kept], rest


def shrinkage(x: np.ndarray) -> float:
    """Returns Ledoit and Wolf's share of the identity, in 0..1.

    Args:
      x: [N, F], with means of 0.
    """
    count, size = x.shape
    # The smaller of the two products has the same squares.
    product = x @ x.T if count < size else x.T @ x
    squares = (product**2).sum() / count**2
    mean = (x**2).sum() / (count * size)
    distance = squares - size * mean**2
    noise = (((x**2).sum(axis=1) ** 2).mean() - squares) / count
    return float(np.clip(noise / distance, 0, 1)) if distance > 0 else 1.0
