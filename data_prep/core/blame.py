"""Whose fault an exception is that was raised while an input was read."""

import errno
import pathlib
import traceback

_ROOT = pathlib.Path(__file__).parents[2]
_PACKAGES = tuple(
    f"{_ROOT / name}/" for name in ("data_prep", "trainer", "inference", "flags")
)
# What wrong code raises. A ValueError or a LookupError of ours may well come of a
# damaged value.
_OF_CODE = (
    AssertionError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    TypeError,
)


def is_of_input(error: BaseException) -> bool:
    """Returns whether the bytes of the input may have caused an exception.

    They have not where wrong code of ours has raised it (libraries raise the same
    types for damaged bytes, but then the innermost frame is theirs), nor where the
    system cannot read them.
    """
    if isinstance(error, OSError):
        # A damaged length makes a reader seek to a place before the file.
        return error.errno in (None, errno.EINVAL)
    frames = traceback.extract_tb(error.__traceback__)
    is_ours = bool(frames) and frames[-1].filename.startswith(_PACKAGES)
    return not (is_ours and isinstance(error, _OF_CODE))
