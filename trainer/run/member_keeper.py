"""The process between an engine and a member's training: it ends the training gently.

An engine kills its process, and that one's children, when a command is interrupted or
a machine is given back. This process is killed then, and the kernel tells the training,
which saves its state. It needs nothing but Python.
"""

import ctypes
import os
import signal
import subprocess
import sys

# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> None:
    """Runs a command, and exits with its code, or 128 and the signal's number.

    Args:
      command: gets SIGTERM when this process gets it, or is gone.
    """
    keeper = os.getpid()

    def tie() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != keeper:
            os.kill(os.getpid(), signal.SIGTERM)

    # In a session of its own, so that no signal to a group of processes reaches it.
    child = subprocess.Popen(command, preexec_fn=tie, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    # Ctrl-C is the driver's, which ends its members by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = child.wait()
    sys.exit(code if code >= 0 else 128 - code)
