"""A trained network's masks on the CPU and on the GPU."""

import dataclasses
import pathlib

import numpy as np

from inference.prediction import probability_maps
from tests.gpu import runs
from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import WITHOUT_GPU
from tests.gpu.session import CheckFailed
from tests.gpu.session import Session

TITLE = "masks of a trained network on CPU and GPU"
# A pixel whose probability lies at the threshold may fall on either side of it.
TOLERANCE = 1e-3
_THRESHOLD, _PERCENTILE = 0.5, 95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How two predictions of the same films differ.

    Attributes:
      num_pixels: pixels of all maps.
      num_outlined: pixels that the first one outlines.
      num_different: pixels that only one of them outlines.
      threshold: probability from which on a pixel is outlined.
      probability: largest difference of two probabilities.
    """

    num_pixels: int
    num_outlined: int
    num_different: int
    threshold: float
    probability: float


def check(session: Session) -> list[Row]:
    """Predicts on the CPU, and compares with the prediction of runs.py."""
    seconds = runs.predict_into(session, "on_cpu", **WITHOUT_GPU)
    found = compare(session.folder / "predicted", session.folder / "on_cpu")
    good = found.num_different <= TOLERANCE * found.num_pixels
    # Equal to the last bit: then both ran on the CPU.
    good &= found.probability > 0 or session.on_cpu
    return [
        Row(
            what=TITLE,
            result=OK if good else BAD,
            figure=f"{found.num_different} of {found.num_pixels} pixels differ, "
            f"{found.num_outlined} are outlined; probabilities by up to "
            f"{found.probability:.1e}",
            seconds=seconds,
            note=f"<= {TOLERANCE:g} of the pixels; outlined from "
            f"{found.threshold:.3f} on",
        )
    ]


def compare(one: pathlib.Path, other: pathlib.Path) -> Difference:
    """Compares two prediction folders that keep their maps.

    Where nothing reaches the threshold 0.5, or everything does, the masks would agree
    whatever the probabilities are; then 5 % of the pixels are outlined instead.

    Raises:
      CheckFailed: they are not of the same films.
    """
    maps = [_maps(folder) for folder in (one, other)]
    if maps[0].keys() != maps[1].keys() or not maps[0]:
        raise CheckFailed(f"{one.name} and {other.name} are not of the same films")
    left, right = (
        np.stack([of[name] for name in sorted(of)]).astype(np.float32) for of in maps
    )
    threshold = _THRESHOLD
    if not 0 < (left >= threshold).mean() < 1:
        threshold = float(np.percentile(left, _PERCENTILE))
    masks = left >= threshold, right >= threshold
    return Difference(
        num_pixels=left.size,
        num_outlined=int(masks[0].sum()),
        num_different=int((masks[0] != masks[1]).sum()),
        threshold=threshold,
        probability=float(np.abs(left - right).max()),
    )


def _maps(folder: pathlib.Path) -> dict[str, np.ndarray]:
    _, maps = probability_maps.read_folder(folder)
    return {m.image_id: m.values for m in maps}


CHECK = Check(name="pixels", run=check, titles=(TITLE,), after=("prediction",))
