"""Conversions on a cluster as commands, whose processes and machines tests kill."""

import contextlib
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

from data_prep.config import SyntheticConfig
from data_prep.phantom import synthetic_folder
from tests import cluster_nodes

ROOT = pathlib.Path(__file__).parents[1]
SIZES = (64, 96)
# Python runs this at its start where the folder is in PYTHONPATH. It makes the
# decoding processes of a conversion slow, and one film a killer of those that open it.
_SITE = """
import multiprocessing, os, signal, sys, time
folder = os.path.dirname(__file__)
def hook(event, arguments):
    if event != "open" or not str(arguments[0]).endswith(".dcm"):
        return
    if multiprocessing.current_process().name == "MainProcess":
        return
    if str(arguments[0]).endswith("/killer.dcm"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if os.path.exists(folder + "/slow"):
        time.sleep(0.15)
sys.addaudithook(hook)
"""


class Conversion:
    """A folder of synthetic films, one of which kills its decoder, and how to run it.

    Args:
      folder: an empty folder.
      num_train: how many labelled films.
      image_size: their side, in pixels.
      records_per_shard: see the flag.
      num_workers: how many processes draw the films.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        num_train: int = 40,
        image_size: int = 128,
        records_per_shard: int = 4,
        num_workers: int = 1,
    ):
        self.folder, self._records_per_shard = folder, records_per_shard
        self._site = folder / "site"
        self._site.mkdir(parents=True)
        (self._site / "sitecustomize.py").write_text(_SITE)
        self.source = folder / "source"
        synthetic_folder.write(
            SyntheticConfig(
                output=self.source,
                num_train=num_train,
                num_test=4,
                positive_fraction=0.5,
                image_size=image_size,
                seed=0,
                num_workers=num_workers,
            )
        )
        test_films = self.source / synthetic_folder.TEST_FOLDER
        film = min(test_films.rglob("*.dcm"))
        film.rename(film.with_name("killer.dcm"))

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the nodes and of the command."""
        return {"PYTHONPATH": str(self._site)}

    def slow_down(self, slow: bool) -> None:
        """Has each film take longer from now on, or not."""
        if slow:
            (self._site / "slow").touch()
        else:
            (self._site / "slow").unlink(missing_ok=True)

    def start(self, output: pathlib.Path, *flags: str) -> subprocess.Popen:
        """Starts the command."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "data_prep.main"),
                f"--source={self.source / synthetic_folder.TRAIN_FOLDER}",
                f"--rle_csv={self.source / synthetic_folder.TRAIN_CSV}",
                f"--test_source={self.source / synthetic_folder.TEST_FOLDER}",
                f"--output={output}",
                f"--sizes={','.join(map(str, SIZES))}",
                f"--records_per_shard={self._records_per_shard}",
                "--num_workers=1",
                "--max_bad_fraction=0.2",
                *flags,
            ],
            cwd=ROOT,
            env=os.environ | self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, command: subprocess.Popen) -> str:
        """Waits for the command; returns its log."""
        _, log = command.communicate(timeout=500)
        # One film is in quarantine.
        assert command.returncode == 3, log[-3000:]
        return log


def files(folder: pathlib.Path) -> dict[str, str]:
    """Returns the sha256 of each file of an output, except what a run is locked by."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".lock" not in path.name
    }


def writers(output: pathlib.Path) -> list[int]:
    """Returns the processes that have a shard of the output open for writing."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        # The plan of a shard and its facts are JSON files of its name.
        if any(
            file.startswith(f"{output}/")
            and ".tfrecord" in file
            and ".json" not in file
            for file in _open_files(pid)
        ):
            found.append(int(pid))
    return found


def _open_files(pid: str) -> list[str]:
    found = []
    # A process, and each of its files, may be gone by now.
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def wait_for_writer(
    output: pathlib.Path,
    command: subprocess.Popen,
    node: cluster_nodes.ClusterNode | None = None,
) -> int:
    """Waits until a process has a shard open, and returns it.

    Args:
      output: of the conversion.
      command: the conversion; it may not end before.
      node: where it is, or None for anywhere.
    """
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        found = writers(output)
        if node:
            found = sorted(set(found) & set(node.pids()))
        if found:
            return found[0]
        assert command.poll() is None, command.stderr.read()[-3000:]
        time.sleep(0.02)
    raise AssertionError("no process has opened a shard")


def kill_driver(command: subprocess.Popen) -> None:
    """Ends a command and waits for it."""
    command.send_signal(signal.SIGKILL)
    command.communicate()


def make_cluster(conversion: Conversion) -> cluster_nodes.Cluster:
    """Returns a cluster whose processes run the conversion's films slowly if asked."""
    return cluster_nodes.Cluster(conversion.environment)
