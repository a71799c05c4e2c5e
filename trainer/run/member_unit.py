"""A member of an ensemble as a unit of work: it trains on any machine of a cluster."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time

from data_prep.core import folder_lock
from data_prep.core import own_files
from data_prep.core.errors import CommandError
from trainer.machine import devices

LOG = "member.log"
# In which a member saves its state before it is killed.
SECONDS_TO_STOP = 60
# How long a member of a machine that was lost may hold its folder: it may still save
# its state, and network shares free a dead machine's locks after a minute or two.
_SECONDS_TO_FREE = 300
_ROOT = pathlib.Path(__file__).parents[2]
_KEEPER = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from trainer.run import member_keeper; member_keeper.main(sys.argv[1:])"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """A member to train.

    Attributes:
      folder: its run folder, by a path that is the same on all machines.
      arguments: the flags of `python -m trainer.main`.
    """

    folder: pathlib.Path
    arguments: tuple[str, ...]


def train(member: Member) -> str:
    """Trains a member, or continues its training.

    Its log lines are appended to `member.log` in its folder.

    Returns:
      The exit code of `trainer.main` as a decimal number.
    """
    member.folder.mkdir(parents=True, exist_ok=True)
    _wait_until_free(member.folder)
    keeper = _KEEPER.format(root=str(_ROOT))
    training = [sys.executable, "-m", "trainer.main", *member.arguments]
    # A site may set TF_CONFIG for all processes; members train by themselves.
    inherited = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    with own_files.opened(member.folder / LOG, "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", keeper, *training],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                # Each member would warn of the GPUs that other members have.
                devices.WARNED: "1",
            },
        )
    return str(wait(child))


def wait(child: subprocess.Popen) -> int:
    """Waits for the end of a training; returns its exit code.

    If this process is interrupted or terminated, the training saves its state as well.
    """
    try:
        return child.wait()
    except BaseException:
        child.terminate()
        try:
            child.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            child.kill()
        raise


def _wait_until_free(folder: pathlib.Path) -> None:
    """Returns once no other training uses the folder.

    Raises:
      CommandError: one uses it for long.
    """
    deadline = time.monotonic() + _SECONDS_TO_FREE
    while True:
        try:
            with folder_lock.locked(folder):
                return
        except CommandError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)
