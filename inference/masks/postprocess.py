"""From mean probabilities to a mask at the source's size, by a spec.

    threshold(0.5)|min_area(2048)
    gate(0.4)|triplet(0.75, 2000, 0.3)|fill_holes|min_area(100, per=component)
    seed

Steps, from left to right:

    gate(t)                      the mask is empty if the image's own probability, a
                                 classifier's, is below t; first, where there is one
    threshold(t)                 p >= t
    triplet(top, area, bottom)   p >= bottom, but empty if p >= top holds on less than
                                 `area`; bottom <= top
    min_area(area)               empty if all of the mask is less than `area`
    min_area(area, per=component)   leaves out components that are less than `area`
    fill_holes                   sets background that the mask encloses

One threshold or triplet cuts; cleaning follows. Wherever a value is compared,
"at least" decides: at a threshold is inside, an area that is reached is enough.
Areas are in pixels of an image of 1024 x 1024 and scale with other sizes.
Components connect over sides and corners (8 neighbours).

A preset stands for the steps in PRESETS; further steps may follow or, as a gate,
precede it.
"""

import dataclasses
import math

import numpy as np

from data_prep.core import spec
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from inference.masks import mask_filters
from inference.masks import mask_runs
from inference.masks import upsampling
from inference.masks.mask_runs import Runs

# The competition's published solutions, as far as these steps express them. Sources
# are their public repositories. Originals compare by ">", which differs from ">="
# only for a probability that equals the threshold; areas in whole pixels are one
# higher here where an original removes what is "at most" so large.
PRESETS = {
    # jchen42703/pneumothorax-seg-cnn: judges the image and not its parts.
    "seed": "threshold(0.5)|min_area(2048)",
    # sneddy/pneumothorax-segmentation, 1st: the best on its validation folds ...
    "winners": "triplet(0.75, 2000, 0.3)",
    # ... the best on the public leaderboard, and both final submissions. The second
    # one measures components by the area of their contour, here by their pixels.
    "winners_public": "triplet(0.7, 600, 0.3)",
    "winners_v1": "triplet(0.7, 800, 0.3)",
    "winners_v2": "triplet(0.75, 1500, 0.3)|fill_holes|min_area(101, per=component)",
    # yelanlan/Pneumothorax-Segmentation-2nd-place-solution.
    "second_place": "gate(0.65)|threshold(0.4)",
    # amirassov/kaggle-pneumothorax, 4th: 800 pixels of an image of 768 x 768.
    "fourth_place": "gate(0.4)|triplet(0.8, 1422.2, 0.4)",
    # earhian/SIIM-ACR-Pneumothorax-Segmentation-5th: one pixel above 0.5 is enough.
    "fifth_place": "triplet(0.5, 1, 0.2)|min_area(65)",
    # see--/pneumothorax-segmentation, 7th.
    "seventh_place": "triplet(0.72, 1, 0.2)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Triplet:
    """Probabilities to a first mask.

    Attributes:
      top: at this probability a pixel is evidence.
      min_area: evidence that an image needs, in pixels at 1024.
      bottom: at this probability a pixel is in the mask.
    """

    top: float
    min_area: float
    bottom: float


def threshold(t: float) -> Triplet:
    """Sets pixels of at least `t`."""
    mask_filters.check("threshold", t, above=0, at_most=1)
    return Triplet(top=t, min_area=0, bottom=t)


def triplet(top: float, min_area: float, bottom: float) -> Triplet:
    """Sets pixels of at least `bottom` where enough are at least `top`.

    Method: sneddy/pneumothorax-segmentation, which won the competition.
    """
    mask_filters.check("top", top, above=0, at_most=1)
    mask_filters.check("bottom", bottom, above=0, at_most=top)
    mask_filters.check("min_area", min_area, above=0)
    return Triplet(top=top, min_area=min_area, bottom=bottom)


def gate(t: float) -> float:
    """Lets images of at least `t` pass."""
    mask_filters.check("gate", t, above=0, at_most=1)
    return t


GATES = {"gate": gate}
CUTS = {"threshold": threshold, "triplet": triplet}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Postprocess:
    """Turns the probabilities of one image into its mask.

    Attributes:
      gate: image-level probability below which the mask is empty, or None.
      cut: probabilities to a first mask.
      cleaners: what is done to it, in order.
    """

    gate: float | None
    cut: Triplet
    cleaners: tuple[mask_filters.Step, ...]

    def passes(self, image_probability: float | None) -> bool:
        """Tells whether the gate lets an image pass, which it does without one.

        Raises:
          ConfigError: a gate without an image-level probability.
          CommandError: a probability that is not a number.
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

    def __call__(
        self,
        probabilities: np.ndarray,
        height: int,
        width: int,
        how: str,
        image_probability: float | None = None,
    ) -> np.ndarray:
        """Returns the mask, [height, width] uint8 of 0 and 1; see `runs`."""
        return self.runs(probabilities, height, width, how, image_probability).mask()

    def rle(
        self,
        probabilities: np.ndarray,
        height: int,
        width: int,
        how: str,
        image_probability: float | None = None,
    ) -> str:
        """Returns the run lengths of the mask, see data_prep/dataset/rle.py."""
        return self.runs(probabilities, height, width, how, image_probability).rle()

    def runs(
        self,
        probabilities: np.ndarray,
        height: int,
        width: int,
        how: str,
        image_probability: float | None = None,
    ) -> Runs:
        """Returns the mask as runs.

        Args:
          probabilities: [S, S] float in 0..1.
          height: of the mask, in pixels.
          width: of the mask, in pixels.
          how: the dataset's aspect policy, see data_prep/dataset/aspect.py.
          image_probability: of a finding anywhere in the image, for the gate.

        Raises:
          ConfigError: a gate without an image-level probability.
          CommandError: a probability that is not a number.
        """
        nothing = mask_runs.empty(height, width)
        values = np.asarray(probabilities, np.float32)
        peak = float(values.max())
        _refuse_nan(peak)
        if not self.passes(image_probability):
            return nothing
        # Most images end here, without being enlarged.
        if not upsampling.reaches(peak, self._needed):
            return nothing
        thresholds = tuple(dict.fromkeys((self.cut.bottom, self.cut.top)))
        found = upsampling.cut(values, height, width, how, thresholds)
        if found is None:
            return nothing
        evidence = np.count_nonzero(found.masks[-1])
        if not mask_filters.enough(evidence, self.cut.min_area, nothing):
            return nothing
        mask = mask_runs.of_mask(
            found.masks[0], height=height, width=width, top=found.top, left=found.left
        )
        for clean in self.cleaners:
            mask = clean(mask)
        return mask

    @property
    def _needed(self) -> float:
        """The probability that some pixel has to have."""
        return self.cut.top if self.cut.min_area else self.cut.bottom


def expand(text: str) -> str:
    """Returns a spec with its presets spelled out."""
    return "|".join(map(str, _terms(text)))


def parse(text: str, *, gated: bool = False) -> Postprocess:
    """Parses a spec.

    Args:
      text: the spec, see above.
      gated: whether image-level probabilities will be there.

    Raises:
      ConfigError: not one cut, an unknown step, bad arguments, or a gate for which
        there will be no probabilities.
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
    if not terms or terms[0].name not in CUTS:
        raise ConfigError(
            "Expected threshold(t), triplet(top, area, bottom) or one of "
            f"{sorted(PRESETS)} as the first step, or behind one gate(t). "
            f"Received: postprocess={text!r}"
        )
    cut = spec.call(terms.pop(0), CUTS, kind="cut")
    cleaners = [
        spec.call(t, mask_filters.CLEANERS, kind="post-processing step") for t in terms
    ]
    return Postprocess(gate=level, cut=cut, cleaners=tuple(cleaners))


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
        # NaN compares as below any threshold: it would read as "healthy".
        raise CommandError(
            ExitCode.CORRUPT,
            "a probability is not a number",
            fix="leave out the member that is at fault, or train it again",
        )
