"""Ends this worker when another one is lost, even where TensorFlow would wait for it.

A collective waits for all workers. TensorFlow's own service notices most losses after
10 to 25 s and aborts it: this comes after that, for a collective that does not end then
or a program that hangs as it ends. It does not depend on TensorFlow.
"""

import contextlib
import logging
import os
import pathlib
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np

from data_prep.core.errors import CommandError

_ROOT = pathlib.Path(__file__).parents[2]
_CODE = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from trainer.distributed import heartbeat_process as p; p.main({index}, {host!r})"
)
# How long TensorFlow may take to raise an error of its own, which ends the worker in
# the usual way, and how long that may take.
_USUAL_END_S = 5.0
# How long the other process may take to end.
_HEART_END_S = 10.0


class Heartbeat:
    """A context manager; all workers enter it at the same point of the program.

    Signs of life go to the chief and come from it, over a connection of its own at any
    free port of `chief_host`. Where that cannot be reached within half a minute, a log
    line says so, and the loss of a worker is noticed as TensorFlow does, unless they
    connect later.

    Args:
      index: this worker's number; 0 is the chief.
      num_workers: number of workers.
      gathered: joins arrays of all workers, see `cluster.Cluster.gathered`.
      chief_host: name or address of the chief's machine.
      loss: makes the error that ends this worker of the words that say why.
    """

    def __init__(
        self,
        *,
        index: int,
        num_workers: int,
        gathered: Callable[[np.ndarray], np.ndarray],
        chief_host: str,
        loss: Callable[[str], CommandError],
    ):
        self._index, self._num_workers = index, num_workers
        self._gathered, self._chief_host, self._loss = gathered, chief_host, loss
        self._ended = threading.Event()

    def __enter__(self) -> "Heartbeat":
        code = _CODE.format(root=str(_ROOT), index=self._index, host=self._chief_host)
        self._process = subprocess.Popen(
            # Without the site's packages, which it does not need.
            [sys.executable, "-I", "-S", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        port = int(self._process.stdout.readline().split()[1])
        secret = secrets.randbits(62)
        values = self._gathered(np.array([[port, secret]], np.int64))
        port, secret = values[0]
        count = self._num_workers
        self._command(f"watch {self._chief_host} {port} {secret} {count}")
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._command("left")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_HEART_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Python must not end while a thread reads.
        self._listener.join()
        self._process.stdout.close()

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
                    self._index or rest[0],
                    self._chief_host,
                )
            elif event == "reached":
                logging.info(
                    "worker %s and the chief's machine are connected now",
                    self._index or rest[0],
                )
            elif event == "lost":
                self._end(f"worker {rest[0]}: {' '.join(rest[1:])}")
        if not self._ended.is_set():
            self._end("the process that sends this worker's signs of life has ended")

    def _end(self, why: str) -> None:
        """Ends this process unless it does so by itself."""
        if self._ended.wait(_USUAL_END_S):
            return
        error = self._loss(why)
        logging.shutdown()
        text = f"ERROR {error.exit_code.name}: {error}\n"
        # At once: the main thread may wait in TensorFlow, with sys.stderr locked.
        os.write(2, text.encode())
        os._exit(error.exit_code)
