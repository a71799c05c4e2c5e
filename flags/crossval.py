"""Flags of `python -m trainer.crossval`: its own, and those of the trainer."""

from absl import flags

from flags import command
from flags import common
from flags import fields
from flags import trainer
from flags.groups import Groups
from trainer.config import CrossValidation

_FOLDS = flags.DEFINE_list(
    "folds",
    ["all"],
    "Validation `folds`, counted from 0, each of which a member is trained for; or "
    "all.",
)
# crossval gives each member a fold, a seed and a folder of its own.
_DECIDED = {"fold": "folds", "seed": "seeds", "workdir": "output"}
_MEMBER = trainer.GROUPS.without(*_DECIDED)
GROUPS = Groups(
    needed=(*_MEMBER.needed, common.OUTPUT),
    common=(
        _FOLDS,
        fields.define(
            CrossValidation,
            "seeds",
            "`Seeds`, with each of which every fold is trained.",
        ),
        *_MEMBER.common,
    ),
    rare=(
        *_MEMBER.rare,
        common.CLUSTER,
        common.ALLOW_OPEN_CLUSTER,
        fields.define(
            CrossValidation,
            "gpus_per_member",
            "How many `GPUs` of a --cluster each member gets; if it is not given, one "
            "where there are GPUs. Members without one get all cores of a machine.",
        ),
    ),
    meanings={
        **_MEMBER.meanings,
        "cluster": "`Address` host:port of a Ray cluster that trains all members at "
        "once, or auto for the one that this machine belongs to; if it is not given, "
        "this machine trains one after the other.",
        "output": "`Folder` to write: a run folder for each member, and their scores. "
        "With --cluster it has to be one that all machines share, and no object store.",
    },
    decided=_DECIDED,
)


def cross_validation() -> CrossValidation:
    """Returns the flags that say which members are trained, and where."""
    return fields.read(
        CrossValidation,
        GROUPS,
        folds=() if _FOLDS.value == ["all"] else fields.integers(_FOLDS),
        flagfile=command.as_flagfile(_MEMBER),
        passed_over=tuple(_passed_over()),
        placement=common.placement(),
    )


def _passed_over() -> list[str]:
    """Returns the lines of a flagfile that this command decides by other flags.

    Such a flag comes from a flagfile, because it is refused on the command line.
    """
    decided = [flags.FLAGS[name] for name in _DECIDED]
    return [f.serialize() for f in decided if f.present and f.value != f.default]
