"""Turns mean probabilities into a mask of the source's size, as a spec says.

    threshold(0.5)|min_area(2048)
    gate(0.4)|triplet(0.75, 2000, 0.3)|fill_holes|min_area(100, per=component)
    seed

Steps, from left to right:

    gate(t)                      the mask is empty if the classifiers' probability for
                                 the image is below t; only as the first step
    threshold(t)                 p >= t
    triplet(top, area, bottom)   p >= bottom, but empty if the area of p >= top is less
                                 than `area`; bottom <= top
    min_area(area)               empty if the area of the whole mask is less than `area`
    min_area(area, per=component)   removes components smaller than `area`
    fill_holes                   sets the background that the mask encloses

A spec has one threshold or triplet; filters follow. All comparisons are ">=". Areas are
in pixels of an image of 1024 x 1024 and scale with the image. Components are
8-connected.

A preset stands for the steps in PRESETS; a gate may precede it and filters may follow.

This module is the only door of `inference.masks`, except that tuning counts pixels with
the same upsampling and areas, and that an artefact's graph looks at the filters.
"""

import dataclasses
import math

import numpy as np

from data_prep.core import spec
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import reference_area
from data_prep.dataset import rle
from inference.masks import mask_filters
from inference.masks import mask_runs
from inference.masks import upsampling
from inference.masks.mask_runs import MaskRuns

# The competition's published solutions, as far as these steps can express them, from
# their public repositories. The originals compare by ">", which differs from ">=" only
# where a probability equals the threshold. Where an original removes areas of "at most"
# n pixels, the area here is n + 1.
PRESETS = {
    # jchen42703/pneumothorax-seg-cnn: the area is that of the image, not of components.
    "seed": "threshold(0.5)|min_area(2048)",
    # sneddy/pneumothorax-segmentation, 1st: the best on its validation folds ...
    "winners": "triplet(0.75, 2000, 0.3)",
    # ... the best on the public leaderboard, and both final submissions. The second
    # measures components by the area of their contour; here their pixels count.
    "winners_public": "triplet(0.7, 600, 0.3)",
    "winners_v1": "triplet(0.7, 800, 0.3)",
    "winners_v2": "triplet(0.75, 1500, 0.3)|fill_holes|min_area(101, per=component)",
    # yelanlan/Pneumothorax-Segmentation-2nd-place-solution.
    "second_place": "gate(0.65)|threshold(0.4)",
    # amirassov/kaggle-pneumothorax, 4th: 800 pixels of an image of 768 x 768.
    "fourth_place": "gate(0.4)|triplet(0.8, 1422.2, 0.4)",
    # earhian/SIIM-ACR-Pneumothorax-Segmentation-5th: one pixel above 0.5 suffices.
    "fifth_place": "triplet(0.5, 1, 0.2)|min_area(65)",
    # see--/pneumothorax-segmentation, 7th.
    "seventh_place": "triplet(0.72, 1, 0.2)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Triplet:
    """Two thresholds: if enough pixels reach `top`, those at `bottom` are the mask.

    Attributes:
      top: a pixel of at least this probability is evidence.
      min_area: minimum area of the evidence in an image, in pixels at 1024.
      bottom: a pixel of at least this probability is in the mask.
    """

    top: float
    min_area: float
    bottom: float


def threshold(t: float) -> Triplet:
    """Returns the triplet that sets pixels of at least `t`."""
    mask_filters.check_range("threshold", t, above=0, at_most=1)
    return Triplet(top=t, min_area=0, bottom=t)


def triplet(top: float, min_area: float, bottom: float) -> Triplet:
    """Returns the triplet that sets pixels of at least `bottom` if `top` has evidence.

    Method: sneddy/pneumothorax-segmentation, which won the competition.
    """
    mask_filters.check_range("top", top, above=0, at_most=1)
    mask_filters.check_range("bottom", bottom, above=0, at_most=top)
    mask_filters.check_range("min_area", min_area, above=0)
    return Triplet(top=top, min_area=min_area, bottom=bottom)


def gate(t: float) -> float:
    """Returns the probability from which an image passes."""
    mask_filters.check_range("gate", t, above=0, at_most=1)
    return t


GATES = {"gate": gate}
TRIPLETS = {"threshold": threshold, "triplet": triplet}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Postprocess:
    """Turns the probabilities of one image into its mask.

    Attributes:
      gate: image-level probability below which the mask is empty, or None.
      triplet: the thresholds of the mask.
      filters: applied to the mask in this order.
    """

    gate: float | None
    triplet: Triplet
    filters: tuple[mask_filters.Filter, ...]

    def passes(self, image_probability: float | None) -> bool:
        """Returns whether the gate lets an image pass; without a gate, all pass.

        Raises:
          ConfigError: there is a gate but no image-level probability.
          CommandError: the probability is NaN.
        """
        if self.gate is None:
            return True
        if image_probability is None:
            raise ConfigError(
                f"Expected an image-level probability for gate({self.gate}). "
                "Received: none"
            )
        _refuse_nan(image_probability)
        return image_probability >= self.gate

    def rle(
        self,
        probabilities: np.ndarray,
        height: int,
        width: int,
        aspect: str,
        image_probability: float | None = None,
    ) -> str:
        """Returns the mask as RLE, see data_prep/dataset/rle.py.

        Args:
          probabilities: [S, S] float in 0..1.
          height: height of the mask, in pixels.
          width: width of the mask, in pixels.
          aspect: the dataset's aspect policy, see data_prep/dataset/aspect.py.
          image_probability: of a pneumothorax anywhere in the image, for the gate.

        Raises:
          ConfigError: there is a gate but no image-level probability.
          CommandError: a probability is NaN.
        """
        values = np.asarray(probabilities, np.float32)
        peak = float(values.max())
        _refuse_nan(peak)
        # Most images end here, before upsampling.
        if not self.passes(image_probability) or not self._can_reach(peak):
            return rle.EMPTY
        return self._mask(values, height, width, aspect).rle()

    def _can_reach(self, peak: float) -> bool:
        """Returns whether a largest probability of `peak` can give a mask."""
        needed = self.triplet.top if self.triplet.min_area else self.triplet.bottom
        return upsampling.reaches(peak, needed)

    def _mask(
        self, values: np.ndarray, height: int, width: int, aspect: str
    ) -> MaskRuns:
        nothing = mask_runs.empty(height, width)
        thresholds = tuple(dict.fromkeys((self.triplet.bottom, self.triplet.top)))
        crop = upsampling.upsample_threshold(values, height, width, aspect, thresholds)
        if crop is None:
            return nothing
        evidence = np.count_nonzero(crop.masks[-1])
        if not reference_area.at_least(evidence, self.triplet.min_area, height, width):
            return nothing
        mask = mask_runs.from_mask(
            crop.masks[0], height=height, width=width, top=crop.top, left=crop.left
        )
        for apply in self.filters:
            mask = apply(mask)
        return mask


def expand(text: str) -> str:
    """Returns a spec with its presets replaced by their steps."""
    return "|".join(map(str, _terms(text)))


def parse(text: str, *, gated: bool = False) -> Postprocess:
    """Parses a spec.

    Args:
      text: the spec, see the module's docstring.
      gated: whether there will be image-level probabilities.

    Raises:
      ConfigError: the spec has no threshold or triplet, an unknown step, bad arguments,
        or a gate without image-level probabilities.
    """
    terms = _terms(text)
    level = None
    if terms[0].name in GATES:
        level = spec.call(terms.pop(0), GATES, kind="gate")
        if not gated:
            raise ConfigError(
                "Expected a spec without a gate, since no classifier is there. "
                f"Received: postprocess={text!r}"
            )
    if not terms or terms[0].name not in TRIPLETS:
        raise ConfigError(
            "Expected threshold(t), triplet(top, area, bottom) or one of "
            f"{sorted(PRESETS)} as the first step, or behind one gate(t). "
            f"Received: postprocess={text!r}"
        )
    thresholds = spec.call(terms.pop(0), TRIPLETS, kind="cut")
    filters = [
        spec.call(t, mask_filters.FILTERS, kind="post-processing step") for t in terms
    ]
    return Postprocess(gate=level, triplet=thresholds, filters=tuple(filters))


def _terms(text: str) -> list[spec.Term]:
    terms = []
    for term in spec.parse(text):
        if term.name in PRESETS and not term.args and not term.kwargs:
            terms += spec.parse(PRESETS[term.name])
        else:
            terms.append(term)
    return terms


def _refuse_nan(value: float) -> None:
    if math.isnan(value):
        # NaN is not >= any threshold, so the image would count as healthy.
        raise CommandError(
            ExitCode.CORRUPT,
            "a probability is not a number",
            fix="leave out the member that is at fault, or train it again",
        )
