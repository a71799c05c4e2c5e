"""Flags of `python -m trainer.crossval`, beside those of the trainer."""

import pathlib

from absl import flags

from flags import command
from flags import common
from flags import trainer
from trainer.config import CrossValidation

_FOLDS = flags.DEFINE_list("folds", ["all"], "Validation folds, or all.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds; every fold is trained with each.")


def cross_validation() -> CrossValidation:
    """Returns the flags that say which members are trained, and where."""
    every = _FOLDS.value == ["all"]
    return CrossValidation(
        data=pathlib.Path(common.required(common.DATA)),
        output=pathlib.Path(common.required(common.OUTPUT)),
        folds=() if every else tuple(common.integers(_FOLDS)),
        seeds=tuple(common.integers(_SEEDS)),
        flagfile=command.as_flagfile(common, trainer),
    )
