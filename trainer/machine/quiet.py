"""Keeps what native libraries write to stderr off the screen, but not their deaths.

TensorFlow 2.21 writes four lines when it is imported, before it reads any of its log
levels, and XLA introduces itself in the middle of a progress bar.
"""

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator

_STDERR = 2


@contextlib.contextmanager
def stderr_away() -> Iterator[None]:
    """Sends stderr's file descriptor to nowhere, and then back.

    What goes wrong in Python comes as an exception. A signal that ends the process,
    such as an illegal instruction, is still told on stderr, with the place in Python
    where it happened. Where stderr is closed there is nothing to keep quiet.
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
        # Python does not tell which file it had; this is the one of its own option.
        if enabled:
            faulthandler.enable(_STDERR)
        else:
            faulthandler.disable()
        os.close(kept)
        os.close(nowhere)
