"""Flags of `python -m inference.tune`."""

import functools

from flags import common
from flags import fields
from flags.groups import Groups
from inference.config import TuneConfig

_define = functools.partial(fields.define, TuneConfig)

GROUPS = Groups(
    needed=(
        _define(
            "predictions",
            "`Folder` that inference.main --split=out_of_fold wrote: probability maps "
            "of labelled images.",
        ),
        common.TRUTH,
        common.OUTPUT,
    ),
    common=(
        _define(
            "tops",
            "Values to try: `probabilities` from which a pixel is evidence of a "
            "pneumothorax.",
        ),
        _define(
            "min_areas",
            "Values to try: least area of the evidence, in `pixels` of a mask of 1024 "
            "x 1024; 0 for none.",
        ),
        _define(
            "bottoms",
            "Values to try: `probabilities` from which a pixel belongs to the mask, "
            "where there is evidence.",
        ),
        _define(
            "gates",
            "Values to try: `probabilities` that the classifiers have to give an image "
            "for a mask at all; used where the predictions have classifiers.",
        ),
    ),
    rare=(common.NUM_WORKERS,),
    meanings={
        "output": "`Folder` to write: thresholds.json with the temperature of the "
        "probabilities, tables and pictures.",
    },
)


def tune_config() -> TuneConfig:
    """Returns the flags as one frozen configuration."""
    return fields.read(TuneConfig, GROUPS, num_workers=common.num_workers())
