"""Compares an artefact with this project's own prediction, on synthetic films."""

import dataclasses
import math

import cv2
import numpy as np
import tensorflow as tf

from data_prep.build import image_records
from data_prep.build.image_records import Pixels
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import aspect
from data_prep.dataset import rle
from data_prep.phantom import phantom
from data_prep.pixels import raster
from inference.artefact.packed_ensemble import PackedEnsemble
from inference.artefact.packed_ensemble import key
from inference.ensemble import mean_probability
from inference.ensemble import placement
from inference.ensemble import tta
from inference.ensemble.classification import Classification
from inference.ensemble.guard import Guard
from inference.masks import image_probability
from trainer.machine import devices

# A film side that all sizes divide is shrunk by the same sums; larger ones take long.
_LARGEST_SIDE = 2048


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """What one of both predicts for a film.

    Attributes:
      probability: of a pneumothorax, in 0..1.
      map: [H, W] float32 in 0..1, at the film's size.
      mask: [H, W] uint8, 0 or 1.
      guard: how unlike the training films it is, -1 where films are not compared.
    """

    probability: float
    map: np.ndarray
    mask: np.ndarray
    guard: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest differences over some films.

    Attributes:
      probability: of an image, in 0..1.
      map: of a pixel's probability, in 0..1.
      mask_share: share of a film's pixels that are in one of both masks only.
      guard: of how unlike the training films a film is, where 1 is the limit.
      films: how many were compared.
    """

    probability: float
    map: float
    mask_share: float
    guard: float
    films: int

    def __str__(self) -> str:
        return (
            f"largest difference over {self.films} synthetic films: probability "
            f"{self.probability:.2g}, map {self.map:.2g}, mask "
            f"{self.mask_share:.2g} of the pixels, guard {self.guard:.2g}"
        )


# Rounding to float16 steps by 5e-4 below 1; kernels may differ by some of its steps.
# A score of the guard is a ratio of distances; its difference is relative above 1.
MOST = Difference(probability=2e-3, map=4e-3, mask_share=1e-3, guard=1e-2, films=0)


class OwnPrediction:
    """Predicts as inference.main does: OpenCV's preprocessing, members, RLE.

    Args:
      ensemble: the members.
    """

    def __init__(self, ensemble: PackedEnsemble):
        self._ensemble, self._device = ensemble, devices.logical_names()[0]
        group = placement.place(ensemble.group, self._device)
        views = [tta.VIEWS[name] for name in ensemble.tta]
        self._segment = mean_probability.segmenters(group.segmenters, views)
        self._classify = None
        if group.classifiers:
            names = tuple(ensemble.classifier_tta)
            self._classify = Classification(group.classifiers, names, 0)
        self._guard = Guard.of_members(group, ensemble.guard_quantile)

    def squares(self, films: list[bytes]) -> dict[str, np.ndarray]:
        """Returns {key of a kind of square: [N, S, S, 1] uint8}."""
        images = [raster.read_pixels(data) for data in films]
        return {
            key(kind): np.stack(
                [_square(image, kind.manifest.options) for image in images]
            )[..., np.newaxis]
            for kind in self._ensemble.kinds
        }

    def maps(self, squares: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns probabilities, [N] float64, and maps, [N, s, s] float16."""
        with tf.device(self._device):
            maps = self._segment(squares).numpy()[..., 0]
            count = len(maps)
            if not self._classify:
                peaks = [image_probability.of_map(values) for values in maps]
                return np.array(peaks), maps
            ids = [str(k) for k in range(count)]
            return self._classify(squares, ids, padded_to=count), maps

    def _scores(self, squares: dict[str, np.ndarray]) -> list[float]:
        """Returns the guard's scores; -1 without one."""
        if not self._guard:
            return [-1.0] * len(next(iter(squares.values())))
        with tf.device(self._device):
            return self._guard.scores(squares).numpy().tolist()

    def __call__(self, films: list[bytes]) -> list[Predicted]:
        """Predicts the bytes of PNG or JPEG files."""
        sizes, squares = [raster.size_of(data) for data in films], self.squares(films)
        probabilities, maps = self.maps(squares)
        columns = probabilities, maps, self._scores(squares), sizes
        return [
            self._at_source(float(p), values, score, *size)
            for p, values, score, size in zip(*columns, strict=True)
        ]

    def _at_source(self, probability, values, score, height, width) -> Predicted:
        own = self._ensemble
        text = own.steps.rle(values, height, width, own.aspect, probability)
        full = aspect.from_square(values.astype(np.float32), height, width, own.aspect)
        return Predicted(
            probability=self.calibrated(probability),
            map=full,
            mask=rle.decode(text, height, width),
            guard=score,
        )

    def calibrated(self, probability):
        """Returns a probability, or several, by the ensemble's temperature."""
        temperature = self._ensemble.temperature
        if temperature is None:
            return probability
        return image_probability.calibrated(probability, temperature)


def films(ensemble: PackedEnsemble) -> list[bytes]:
    """Returns synthetic films as PNG files: square, wide and tall, with and without."""
    sizes = [kind.manifest.image_size for kind in ensemble.kinds]
    side = 2 * math.lcm(*sizes)
    if side > _LARGEST_SIDE:
        side = 2 * max(sizes)
    drawn = [
        phantom.draw(np.random.default_rng(k), size=side, pneumothorax=k < 3).image
        for k in range(4)
    ]
    cut = side // 8
    drawn[1] = drawn[1][cut:-cut]
    drawn[2] = drawn[2][:, cut:-cut]
    return [cv2.imencode(".png", image)[1].tobytes() for image in drawn]


def of_films(expected: list[Predicted], received: list[Predicted]) -> Difference:
    """Returns the largest differences between two predictions of the same films.

    Raises:
      CommandError: a map or mask has another size.
    """
    pairs = list(zip(expected, received, strict=True))
    for one, other in pairs:
        if one.map.shape != other.map.shape or one.mask.shape != other.mask.shape:
            raise differs(f"gives a map of {other.map.shape} for {one.map.shape}")
    # Of a NaN, numpy makes a NaN where `max` may drop it.
    columns = (
        [abs(a.probability - b.probability) for a, b in pairs],
        [np.abs(a.map - b.map).max() for a, b in pairs],
        [(a.mask != b.mask).mean() for a, b in pairs],
        [abs(a.guard - b.guard) / max(1.0, abs(a.guard)) for a, b in pairs],
    )
    probability, of_map, mask_share, guard = (float(np.max(c)) for c in columns)
    return Difference(
        probability=probability,
        map=of_map,
        mask_share=mask_share,
        guard=guard,
        films=len(pairs),
    )


def check(found: Difference, most: Difference = MOST) -> None:
    """Raises a CommandError for a difference above `most`, or that is not finite."""
    for field in ("probability", "map", "mask_share", "guard"):
        value, limit = getattr(found, field), getattr(most, field)
        # Also refuses NaN.
        if not value <= limit:
            raise differs(f"is off in {field} by {value:.2g}, allowed is {limit:g}")


def differs(what: str) -> CommandError:
    """Returns the error of an artefact that predicts otherwise than its members."""
    return CommandError(
        ExitCode.CORRUPT,
        f"the artefact {what}; nothing was written",
        fix="export with another version of TensorFlow, and report it",
    )


def _square(image: np.ndarray, options: dict) -> np.ndarray:
    pixels = Pixels(
        sizes=(options["image_size"],),
        aspect=options["aspect"],
        interpolation=options["interpolation"],
        clahe=options["clahe"],
        voi=options["voi"],
        frame=None,
        dicom_decoder="pydicom",
        pixel_encoding="raw",
    )
    return image_records.prepare(image, options["image_size"], pixels)
