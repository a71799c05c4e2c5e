"""The values that the charts of `templates/charts.html.j2` draw."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a chart.

    Attributes:
      name: the line's text in the legend.
      x: [N] float in 0..1, NaN where there is no point.
      y: [N] likewise.
      dots: whether to mark the points.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    dots: bool = False

    def points(self, left: int, top: int, size: int) -> list[tuple[str, str]]:
        """Returns the finite points in a square of `size` units, y pointing up."""
        points = np.stack([left + self.x * size, top + (1 - self.y) * size], axis=-1)
        finite = points[np.isfinite(points).all(axis=-1)]
        return [(f"{x:.1f}", f"{y:.1f}") for x, y in finite]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whisker:
    """One value with its interval, all in 0..1; None where it is undefined."""

    name: str
    value: float | None
    low: float | None
    high: float | None
