"""Flags of `python -m data_prep.verify`."""

import pathlib

from flags import common
from flags import fields
from flags.groups import Groups

GROUPS = Groups(
    needed=(common.DATA,),
    meanings={
        "data": "Dataset `folder` of one image size, or the folder of all sizes."
    },
)


def data() -> pathlib.Path:
    """Returns the folder to check."""
    return fields.path(fields.required(common.DATA))
