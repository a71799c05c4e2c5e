"""Checks each machine before any work: folders, code, versions."""

import contextlib
import logging
import os
import pathlib
import secrets
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import ray
from ray import cloudpickle

from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import code_hash
from data_prep.executors import ray_probe
from data_prep.executors.ray_nodes import Node
from data_prep.executors.ray_nodes import pinned

# A worker process of Ray starts within seconds, on a loaded machine within a minute.
_PROBE_SECONDS = 180
# Entries of a folder that is only read, of which one file is looked at.
_MOST_ENTRIES = 1000
# What Ray raises where a machine was lost.
_LOST = (
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.TaskUnschedulableError,
)


def probe(
    nodes: Sequence[Node],
    shared: Sequence[pathlib.Path],
    environment: dict[str, Any],
) -> tuple[list[tuple[str, dict]], list[str]]:
    """Asks each machine what it sees and has.

    Args:
      nodes: the machines.
      shared: see `choose.executor`.
      environment: Ray's, of the processes there; that of the units, which then find
        their process started.

    Returns:
      The host of each machine, and what `ray_probe.look` has returned there; and the
      ids of machines that were lost while they were asked.

    Raises:
      CommandError: a machine does not see a folder, has other code or another Python,
        or does not answer; or all were lost.
    """
    with _witnesses(shared) as files:
        sizes = {str(path): size for path, (_, size) in files.items()}
        answers, lost = _answers(nodes, sizes, environment)
    for host, answer in answers:
        for path in answer["unseen"]:
            folder, _ = files[pathlib.Path(path)]
            raise _error(
                f"{host} does not see {folder} as this machine does",
                fix="it must be a folder that all nodes share at the same path",
            )
        _check_code(host, answer)
    return answers, lost


def _check_code(host: str, answer: dict) -> None:
    if not answer["code"]:
        raise _error(
            f"{host} cannot import this project from {code_hash.ROOT}: "
            f"{answer['code_error']}",
            fix="install it on all nodes, or start from a folder that they share",
        )
    if answer["code"] != code_hash.of_this_machine():
        raise _error(
            f"{host} has another version of this project",
            fix="install the same on all nodes, or start from a folder that they share",
        )


def check_tensorflow(answers: Sequence[tuple[str, dict]]) -> None:
    """Raises a CommandError if a machine has another TensorFlow than this one."""
    wanted = installing.tensorflow()
    for host, answer in answers:
        found = next(iter(answer["versions"].values()), "none")
        if found != wanted:
            raise _error(
                f"{host} has TensorFlow {found}, and this machine {wanted or 'none'}",
                fix="install the same version on all nodes",
            )


def _answers(
    nodes: Sequence[Node], files: dict[str, int], environment: dict[str, Any]
) -> tuple[list[tuple[str, dict]], list[str]]:
    cloudpickle.register_pickle_by_value(ray_probe)
    try:
        look = ray.remote(ray_probe.look)
        node_of = {
            look.options(
                num_cpus=0,
                max_retries=0,
                runtime_env=environment,
                **pinned(node.id),
            ).remote(files, list(installing.TENSORFLOWS)): node
            for node in nodes
        }
    finally:
        cloudpickle.unregister_pickle_by_value(ray_probe)
    ready, late = ray.wait(
        list(node_of), num_returns=len(node_of), timeout=_PROBE_SECONDS
    )
    if late:
        raise _error(
            f"{node_of[late[0]].host} does not start a process within "
            f"{_PROBE_SECONDS} s",
            fix="see Ray's logs there, or restart its node",
        )
    # Several nodes may be on one host.
    answers, lost = [], []
    for ref in ready:
        try:
            answers.append((node_of[ref].host, ray.get(ref)))
        except _LOST as e:
            logging.warning(
                "%s was lost when it was asked what it has (%s); it is not used.",
                node_of[ref].host,
                type(e).__name__,
            )
            lost.append(node_of[ref].id)
        except ray.exceptions.RayError as e:
            raise _error(
                f"{node_of[ref].host} cannot start a process ({type(e).__name__})",
                fix="see Ray's logs there, or restart its node",
            ) from e
    if lost and not answers:
        raise _error(
            f"{node_of[ready[0]].host} was lost when it was asked, and no other node "
            "has answered",
            fix="start nodes, then the same command",
        )
    return answers, lost


@contextlib.contextmanager
def _witnesses(
    shared: Sequence[pathlib.Path],
) -> Iterator[dict[pathlib.Path, tuple[pathlib.Path, int]]]:
    """Yields files by which a folder is known, with their folder and size."""
    # Object stores are reached by their address from everywhere.
    folders = [folder.absolute() for folder in shared if "://" not in str(folder)]
    found = {folder: (folder, -1) for folder in folders if folder.is_dir()}
    for folder in folders[1:]:
        if file := _some_file(folder):
            found[file] = folder, file.stat().st_size
    if not folders:
        yield found
        return
    folders[0].mkdir(parents=True, exist_ok=True)
    probe_file = folders[0] / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    text = secrets.token_hex(secrets.choice(range(16, 64)))
    try:
        probe_file.write_text(text)
        found[folders[0]] = folders[0], -1
        found[probe_file] = folders[0], len(text)
        yield found
    finally:
        probe_file.unlink(missing_ok=True)


def _some_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns a file below a folder, or the path itself where it is a file."""
    if folder.is_file():
        return folder
    for number, (directory, _, names) in enumerate(os.walk(folder)):
        if names:
            return pathlib.Path(directory) / min(names)
        if number > _MOST_ENTRIES:
            break
    logging.info("%s has no file by which nodes could be seen to share it.", folder)
    return None


def _error(what: str, *, fix: str) -> CommandError:
    return CommandError(ExitCode.ENVIRONMENT, what, fix=fix)
