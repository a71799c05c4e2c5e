"""Starts runs of tests/trainer/one_process.py, and compares their run folders."""

import csv
import json
import os
import pathlib
import subprocess
import sys
import time

import h5py
import numpy as np

from tests.trainer.network import Loopback

# Time limit of one process, and of the wait for a checkpoint. Two workers share two
# cores with other tests, where the imports alone may take a minute; the limit ends a
# deadlock, and no healthy run comes near it.
TIMEOUT_S = 300
# 40 steps without dropout, whose noise depends on the number of replicas, and with SGD,
# because Adam amplifies the rounding of small gradients. Each process compiles the
# recipe, which takes longest where it warps, and no warp draws otherwise than these do.
CONFIG = {
    "model": "tiny",
    "epochs": 8,
    "ema_momentum": 0.9,
    "optimizer": "sgd",
    "augment": "hflip(p=0.5)|gamma(0.8, 1.2, p=0.3)",
}


def start(
    dataset,
    workdir,
    num_workers,
    changes=None,
    worker_changes=None,
    network=None,
    spoiled=None,
    worker_dirs=None,
):
    """Starts the workers.

    Args:
      dataset: folder of the datasets.
      workdir: run folder.
      num_workers: number of processes.
      changes: replaces fields of the configuration.
      worker_changes: the same for single workers.
      network: see tests/trainer/network.py; this host's by default.
      worker_dirs: {worker: another run folder than `workdir`}.
      spoiled: {worker: step of the first epoch, from 1, with an infinite gradient}.
    """
    network = network or Loopback()
    hosts = network.hosts(num_workers)
    processes = []
    for k in range(num_workers):
        config = CONFIG | (changes or {}) | (worker_changes or {}).get(k, {})
        run = {
            "data": str(dataset / "32"),
            "workdir": str((worker_dirs or {}).get(k, workdir)),
            "strategy": "single" if num_workers == 1 else "multi_worker",
            "config": config,
            "spoiled": (spoiled or {}).get(k),
            "digest": str(workdir.parent / f"digest{k}.json"),
        }
        processes.append(
            subprocess.Popen(
                network.command(
                    k,
                    [
                        sys.executable,
                        "-m",
                        "tests.trainer.one_process",
                        json.dumps(run),
                    ],
                ),
                env=os.environ | network.variables(k, hosts),
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


def ended(processes) -> list[tuple[int, str]]:
    try:
        stderrs = [p.communicate(timeout=TIMEOUT_S)[1] for p in processes]
    finally:
        for p in processes:
            p.kill()
    return [(p.returncode, text) for p, text in zip(processes, stderrs, strict=True)]


def succeed(processes) -> None:
    for code, stderr in ended(processes):
        assert code == 0, stderr


def wait_for_checkpoint(workdir: pathlib.Path, but: set[pathlib.Path] = frozenset()):
    """Returns once there is a checkpoint that is not in `but`."""
    deadline = time.monotonic() + TIMEOUT_S
    while not set(workdir.glob("checkpoints/epoch-*")) - but:
        assert time.monotonic() < deadline, f"no checkpoint in {TIMEOUT_S} s"
        time.sleep(0.002)


def weights(workdir: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    arrays = {}
    with h5py.File(workdir / f"{name}.weights.h5") as file:

        def visit(path, node):
            if isinstance(node, h5py.Dataset):
                arrays[path] = node[()]

        file.visititems(visit)
    return arrays


def assert_same(one, other, **tolerance):
    for name in ("last", "swa", "ema", "best"):
        a, b = weights(one, name), weights(other, name)
        assert a
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_allclose(a[key], b[key], err_msg=key, **tolerance)
    with open(one / "log.csv") as f, open(other / "log.csv") as g:
        for a, b in zip(csv.DictReader(f), csv.DictReader(g), strict=True):
            assert a.keys() == b.keys()
            for key in a:
                if key == "val_tuned_rule":
                    assert a[key] == b[key]
                elif a[key] or b[key]:
                    np.testing.assert_allclose(
                        float(a[key]), float(b[key]), err_msg=key, **tolerance
                    )
