"""Flags of `python -m inference.tune`."""

import pathlib

from absl import flags

from flags import common
from inference.config import TuneConfig

_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "Folder with probability maps of labelled images."
)
_TOPS = flags.DEFINE_list(
    "tops",
    [f"{k / 20:g}" for k in range(2, 20)],
    "Probabilities of evidence to try, separated by commas.",
)
_MIN_AREAS = flags.DEFINE_list(
    "min_areas",
    # Strings are split as they are on the command line.
    "0,1,64,128,256,400,512,600,800,1000,1250,1500,1750,2000,2048,2500,3000,3500,"
    "4096,5000,6000,7000,8192",
    "Least areas of evidence to try, in pixels at 1024; 0 for none.",
)
_BOTTOMS = flags.DEFINE_list(
    "bottoms",
    [f"{k / 20:g}" for k in range(2, 15)],
    "Probabilities of the mask to try, separated by commas.",
)
_GATES = flags.DEFINE_list(
    "gates",
    [f"{k / 20:g}" for k in range(1, 20)],
    "Classifier's probabilities to try as a gate, where the maps have them.",
)


def tune_config() -> TuneConfig:
    """Returns the flags as one frozen configuration."""
    return TuneConfig(
        predictions=pathlib.Path(common.required(_PREDICTIONS)),
        truth=pathlib.Path(common.required(common.TRUTH)),
        output=pathlib.Path(common.required(common.OUTPUT)),
        tops=tuple(sorted(common.numbers(_TOPS))),
        min_areas=tuple(sorted(common.numbers(_MIN_AREAS))),
        bottoms=tuple(sorted(common.numbers(_BOTTOMS))),
        gates=tuple(sorted(common.numbers(_GATES))),
        num_workers=common.num_workers(),
    )
