"""Flags of `python -m trainer.crossval`, beside those of the trainer."""

import pathlib

from absl import flags

from flags import command
from flags import common
from flags import execution
from flags import trainer
from flags.groups import Groups
from trainer.config import CrossValidation

_FOLDS = flags.DEFINE_list(
    "folds",
    ["all"],
    "Validation `folds`, counted from 0, each of which a member is trained for; or "
    "all.",
)
_SEEDS = flags.DEFINE_list(
    "seeds", ["0"], "`Seeds`, with each of which every fold is trained."
)
# Each member is trained by trainer.main, with fold, seed and folder of its own.
_DECIDED = {"fold": "folds", "seed": "seeds", "workdir": "output"}
_MEMBER = trainer.GROUPS.without(*_DECIDED)
GROUPS = Groups(
    needed=(*_MEMBER.needed, common.OUTPUT),
    common=(_FOLDS, _SEEDS, *_MEMBER.common),
    rare=_MEMBER.rare,
    meanings={
        **_MEMBER.meanings,
        "output": "`Folder` to write: a run folder for each member, and their scores.",
    },
    decided=_DECIDED,
)


def cross_validation() -> CrossValidation:
    """Returns the flags that say which members are trained, and where."""
    every = _FOLDS.value == ["all"]
    return CrossValidation(
        data=pathlib.Path(common.required(common.DATA)),
        output=pathlib.Path(common.required(common.OUTPUT)),
        folds=() if every else tuple(common.integers(_FOLDS)),
        seeds=tuple(common.integers(_SEEDS)),
        flagfile=command.as_flagfile(_MEMBER),
        strategy=execution.STRATEGY.value,
        require_gpu=common.REQUIRE_GPU.value,
        passed_over=tuple(_passed_over()),
    )


def _passed_over() -> list[str]:
    """Returns what a flagfile sets that this command decides by other flags.

    On the command line such a flag is refused, so that it comes from a flagfile.
    """
    of_file = [flags.FLAGS[name] for name in _DECIDED]
    return [f.serialize() for f in of_file if f.present and f.value != f.default]
