"""Ends this worker when another one is lost, where TensorFlow would wait for it.

A collective waits for all workers. TensorFlow notices a process that has ended, but not
in each phase, and a link that is down or a frozen process only after minutes, if ever.
"""

import contextlib
import logging
import os
import pathlib
import secrets
import subprocess
import sys
import threading

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed.cluster import Cluster
from trainer.distributed.cluster import WorkerRank

_ROOT = pathlib.Path(__file__).parents[2]
_CODE = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from trainer.distributed import heartbeat_process as p; p.main({index})"
)
# How long TensorFlow may take to raise an error of its own, which ends the worker in
# the usual way, and how long that may take.
_USUAL_END_S = 5.0


def loss(rank: WorkerRank, why: str) -> CommandError:
    """Returns the error of a worker that has lost another one."""
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"worker {rank.index} of {rank.num_workers} has lost another one ({why})",
        fix="start all workers again: they go on from the last checkpoint",
    )


class Heartbeat:
    """A context manager; all workers enter it at the same point of the program.

    Signs of life go to the chief and come from it, over a connection of its own at any
    free port of the chief's machine. Where that cannot be reached, a log line says so,
    and the loss of a worker is noticed as TensorFlow does.

    Args:
      rank: this worker's.
      cluster: all workers, who have met.
      chief_host: name or address of the chief's machine.
    """

    def __init__(self, rank: WorkerRank, cluster: Cluster, chief_host: str):
        self._rank, self._cluster, self._chief_host = rank, cluster, chief_host
        self._ended = threading.Event()

    def __enter__(self) -> "Heartbeat":
        code = _CODE.format(root=str(_ROOT), index=self._rank.index)
        self._process = subprocess.Popen(
            # Without the site's packages, which it does not need.
            [sys.executable, "-I", "-S", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        port = int(self._process.stdout.readline().split()[1])
        secret = secrets.randbits(62)
        values = self._cluster.gathered(np.array([[port, secret]], np.int64))
        port, secret = values[0]
        count = self._rank.num_workers
        self._command(f"watch {self._chief_host} {port} {secret} {count}")
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._command("left")
        self._process.stdin.close()

    def _command(self, line: str) -> None:
        # `_listen` notices a broken pipe.
        with contextlib.suppress(BrokenPipeError):
            print(line, file=self._process.stdin, flush=True)

    def _listen(self) -> None:
        for line in self._process.stdout:
            event, *rest = line.split()
            if event == "unreachable":
                logging.warning(
                    "worker %s and the chief's machine, %s, have no connection for "
                    "signs of life: if a worker freezes or a cable breaks, the others "
                    "may wait for it for long",
                    self._rank.index if self._rank.index else rest[0],
                    self._chief_host,
                )
            elif event == "lost":
                self._end(f"worker {rest[0]}: {' '.join(rest[1:])}")
        if not self._ended.is_set():
            self._end("the process that sends this worker's signs of life has ended")

    def _end(self, why: str) -> None:
        """Ends this process unless it does so by itself."""
        if self._ended.wait(_USUAL_END_S):
            return
        error = loss(self._rank, why)
        logging.shutdown()
        text = f"ERROR {error.exit_code.name}: {error}\n"
        # At once: the main thread may wait in TensorFlow, with sys.stderr locked.
        os.write(2, text.encode())
        os._exit(error.exit_code)
