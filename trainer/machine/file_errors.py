"""Turns errors of TensorFlow's file systems into the OSErrors that they were."""

import errno
import os
import re

import tensorflow as tf

# Several errnos share an error class, so that only the text tells which one it was.
_ERRNOS = {os.strerror(number): number for number in errno.errorcode}
# TensorFlow writes "PATH; STRERROR", behind the name of a node and before more lines.
_NAMES = "|".join(map(re.escape, _ERRNOS))
_TEXT = re.compile(rf"(?:^|}}}} |\n)(?P<path>[^;\n{{}}]+); (?P<name>{_NAMES})(?=\s|$)")


def as_os_error(error: BaseException) -> OSError | None:
    """Returns the OSError of a file operation that failed within TensorFlow, or None.

    The class of a full disk, for example, is ResourceExhaustedError, which is that of
    used-up memory too.
    """
    if not isinstance(error, tf.errors.OpError):
        return None
    match = _TEXT.search(str(error))
    if not match:
        return None
    return OSError(_ERRNOS[match["name"]], match["name"], match["path"])
