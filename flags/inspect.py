"""Flags of `python -m data_prep.inspect`."""

import pathlib

from flags import common
from flags import fields
from flags.groups import Groups

GROUPS = Groups(
    needed=(common.DATA, common.OUTPUT),
    common=(common.NUM_PICTURES,),
    meanings={"output": "`Folder` to write: a page, index.html, and its pictures."},
)


def data() -> pathlib.Path:
    """Returns the dataset folder to look at."""
    return fields.path(fields.required(common.DATA))


def output() -> pathlib.Path:
    """Returns the folder to write."""
    return fields.path(fields.required(common.OUTPUT))


def num_pictures() -> int:
    """Returns the number of images on the sheet of pictures."""
    return common.NUM_PICTURES.value
