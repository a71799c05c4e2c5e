"""Flags of `python -m inference.tune`."""

import pathlib

from absl import flags

from flags import common
from flags.groups import Groups
from inference.config import TuneConfig

_PREDICTIONS = flags.DEFINE_string(
    "predictions",
    None,
    "`Folder` that inference.main --split=out_of_fold wrote: probability maps of "
    "labelled images.",
)
_TOPS = flags.DEFINE_list(
    "tops",
    [f"{k / 20:g}" for k in range(2, 20)],
    "Values to try: `probabilities` from which a pixel is evidence of a pneumothorax.",
)
_MIN_AREAS = flags.DEFINE_list(
    "min_areas",
    # Strings are split as they are on the command line.
    "0,1,64,128,256,400,512,600,800,1000,1250,1500,1750,2000,2048,2500,3000,3500,"
    "4096,5000,6000,7000,8192",
    "Values to try: least area of the evidence, in `pixels` of a mask of 1024 x 1024;"
    " 0 for none.",
)
_BOTTOMS = flags.DEFINE_list(
    "bottoms",
    [f"{k / 20:g}" for k in range(2, 15)],
    "Values to try: `probabilities` from which a pixel belongs to the mask, where "
    "there is evidence.",
)
_GATES = flags.DEFINE_list(
    "gates",
    [f"{k / 20:g}" for k in range(1, 20)],
    "Values to try: `probabilities` that the classifiers have to give an image for a "
    "mask at all; used where the predictions have classifiers.",
)

GROUPS = Groups(
    needed=(_PREDICTIONS, common.TRUTH, common.OUTPUT),
    common=(_TOPS, _MIN_AREAS, _BOTTOMS, _GATES),
    rare=(common.NUM_WORKERS,),
    meanings={
        "output": "`Folder` to write: thresholds.json, tables and a picture.",
    },
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
