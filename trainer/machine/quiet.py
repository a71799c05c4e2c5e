"""Hides what native libraries write to stderr, except crashes.

TensorFlow 2.21 writes four lines on import, before it reads its log levels, and XLA
logs a line in the middle of a progress bar.
"""

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator

_STDERR = 2


@contextlib.contextmanager
def stderr_away() -> Iterator[None]:
    """Redirects stderr's file descriptor to /dev/null, and restores it.

    Python errors still raise. A signal that kills the process, such as an illegal
    instruction, is still reported on stderr with the Python stack. Does nothing where
    stderr is closed.
    """
    if sys.stderr:
        sys.stderr.flush()
    try:
        kept = os.dup(_STDERR)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    enabled = faulthandler.is_enabled()
    try:
        faulthandler.enable(kept, all_threads=False)
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        # Python does not say which file was set; stderr is what its own option sets.
        if enabled:
            faulthandler.enable(_STDERR)
        else:
            faulthandler.disable()
        os.close(kept)
        os.close(nowhere)
