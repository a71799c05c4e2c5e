"""Flags of `python -m trainer.doctor`."""

import pathlib

from absl import flags

from flags import common
from flags import fields
from flags.groups import Groups

_JSON = flags.DEFINE_bool(
    "json", False, "Print the findings as JSON instead of as lines."
)

GROUPS = Groups(
    common=(common.OUTPUT, _JSON),
    meanings={
        "output": "`Folder` whose file system is tested; the current one without."
    },
)


def output() -> pathlib.Path:
    """Returns the folder whose file system is tested: --output, or the current one."""
    return fields.path(common.OUTPUT.value or "")


def as_json() -> bool:
    """Returns whether the findings are printed as JSON."""
    return _JSON.value
