"""Rules that turn a probability map into a mask, and the grid of those to try.

Imports neither NumPy nor TensorFlow, since the flags show the grid's defaults.
"""

import dataclasses

AXES = ("gate", "top", "min_area", "bottom")
NO_GATE = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """A point of the grid.

    Attributes:
      gate: a classifier's probability below which the mask is empty; 0 for no gate.
      top: a pixel of at least this probability is evidence.
      min_area: minimum area of the evidence in an image, in pixels at 1024; 0 for none.
      bottom: a pixel of at least this probability is in the mask.
    """

    gate: float
    top: float
    min_area: float
    bottom: float

    def spec(self) -> str:
        """Returns the rule as inference/masks/postprocess.py parses it."""
        if self.min_area:
            whole = int(self.min_area)
            area = whole if whole == self.min_area else self.min_area
            cut = f"triplet(top={self.top}, min_area={area}, bottom={self.bottom})"
        else:
            # Without a minimum of evidence, `top` has no effect.
            cut = f"threshold({self.bottom})"
        return f"gate({self.gate})|{cut}" if self.gate else cut


# The values that tuning tries unless it is given others.
TOPS = tuple(k / 20 for k in range(2, 20))
BOTTOMS = tuple(k / 20 for k in range(2, 15))
# fmt: off
MIN_AREAS = tuple(map(float, (
    0, 1, 64, 128, 256, 400, 512, 600, 800, 1000, 1250, 1500, 1750, 2000, 2048, 2500,
    3000, 3500, 4096, 5000, 6000, 7000, 8192,
)))
# fmt: on

# The baselines of a tuned rule. The seed's min_area is a triplet whose evidence is the
# mask itself.
SEED = Rule(gate=NO_GATE, top=0.5, min_area=2048, bottom=0.5)
PLAIN = Rule(gate=NO_GATE, top=0.5, min_area=0, bottom=0.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Values to try, ascending; the first gate is 0, which is no gate."""

    gates: tuple[float, ...]
    tops: tuple[float, ...]
    min_areas: tuple[float, ...]
    bottoms: tuple[float, ...]

    @property
    def axes(self) -> tuple[tuple[float, ...], ...]:
        """The values in the order of AXES."""
        return self.gates, self.tops, self.min_areas, self.bottoms

    def rule(self, index: tuple[int, ...]) -> Rule:
        """Returns the point at an index along each axis."""
        values = [axis[k] for axis, k in zip(self.axes, index, strict=True)]
        return Rule(**dict(zip(AXES, values, strict=True)))


# What validation tries after every epoch: the default of inference.tune.
DEFAULT_GRID = Grid(gates=(NO_GATE,), tops=TOPS, min_areas=MIN_AREAS, bottoms=BOTTOMS)
