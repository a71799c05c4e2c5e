"""Runs the commands of the pages as a new user would, on synthetic films.

    python -m tests.docs [--output=build/docs]

In an empty folder, which has the films under the names that the pages use, the commands
run in the order of the pages, with a few flags behind them that make them small
(tests/docs/accounts.py). `make docs-check` runs this; it ends with a table of seconds.
"""

import argparse
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np

from data_prep.phantom import phantom
from tests.docs import accounts
from tests.docs import pages

# Films of the training and of the test split.
NUM_TRAIN, NUM_TEST, SIDE = 24, 6, 256


def _films(folder: pathlib.Path) -> None:
    """Writes synthetic films under the names that the pages use."""
    command = [sys.executable, "-m", "data_prep.synthetic", "--output=."]
    sizes = [f"--num_train={NUM_TRAIN}", f"--num_test={NUM_TEST}"]
    done = _run([*command, *sizes, f"--source_size={SIDE}"], folder)
    if done.returncode:
        raise RuntimeError(done.stdout)
    (folder / "films").symlink_to("dicom-images-test")
    film = phantom.draw(np.random.default_rng(0), size=SIDE, pneumothorax=True).image
    for name in ("film1.png", "film2.jpg"):
        cv2.imwrite(str(folder / name), film)


def _run(command: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(pages.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> int:
    """Returns 1 if a command does not end as its page says, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default="build/docs")
    folder = parser.parse_args().output.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _films(folder)
    rows = []
    for command in [c for page in pages.all_pages() for c in pages.commands(page)]:
        account = accounts.of(command)
        if account is None or account.extra is None:
            continue
        began = time.monotonic()
        _, *arguments = shlex.split(command.text)
        done = _run([sys.executable, *arguments, *account.extra], folder)
        rows.append((command, time.monotonic() - began))
        print(f"{rows[-1][1]:6.1f} s  {command.page}: {command.text}", flush=True)
        if done.returncode != account.code:
            # Those that follow use what it should have made.
            print(f"ended with {done.returncode}:\n{done.stdout[-3000:]}", flush=True)
            return 1
    print(f"{len(rows)} commands in {sum(s for _, s in rows):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
