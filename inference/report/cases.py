"""Scored images: what an evaluation computes and its pages and pictures show."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One scored image.

    Attributes:
      image_id: its id.
      truth: [H, W] uint8, the union of the true rows.
      prediction: [H, W] uint8, the union of the predicted rows.
      dice: the competition's Dice.
    """

    image_id: str
    truth: np.ndarray
    prediction: np.ndarray
    dice: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of N images, one column per value.

    Attributes:
      ids: [N] image ids, ascending.
      dice: [N] float64, the competition's Dice.
      truth_area: [N] float64, in pixels of an image of 1024 x 1024.
      predicted_area: [N] float64, in the same unit.
    """

    ids: tuple[str, ...]
    dice: np.ndarray
    truth_area: np.ndarray
    predicted_area: np.ndarray

    @property
    def positive(self) -> np.ndarray:
        """[N] bool, whether the true mask has a pixel."""
        return self.truth_area > 0

    @property
    def predicted_positive(self) -> np.ndarray:
        """[N] bool, whether the predicted mask has a pixel."""
        return self.predicted_area > 0
