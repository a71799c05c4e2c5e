"""Checks each machine before any work: folders, code, versions."""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import secrets
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import ray
from ray import cloudpickle

from data_prep.core import durable
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
# What decides the bytes of records and predictions, and which films can be decoded.
_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
    "pydicom",
    "pillow",
    "simplejpeg",
    "pyjpegls",
    "imagecodecs",
    "pylibjpeg",
    "pylibjpeg-libjpeg",
    "pylibjpeg-openjpeg",
    "pylibjpeg-rle",
)
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
    modules: Sequence[str] = (),
) -> tuple[list[tuple[str, dict]], list[str]]:
    """Asks each machine what it sees and has.

    Args:
      nodes: the machines.
      shared: see `choose.executor`.
      environment: Ray's, of the processes there; that of the units, which then find
        their process started.
      modules: what units need, which is imported there.

    Returns:
      The host of each machine, and what `ray_probe.look` has returned there; and the
      ids of machines that were lost while they were asked.

    Raises:
      CommandError: a machine does not see a folder, has other code or another Python,
        or does not answer; or all were lost.
    """
    with _witnesses(shared) as (folder_of, files):
        answers, lost = _answers(nodes, files, environment, modules)
    for host, answer in answers:
        for number in answer["unseen"]:
            folder = folder_of[number]
            raise _error(
                f"{host} does not see {folder} as this machine does",
                fix="it must be a folder that all nodes share at the same path",
            )
        _check_code(host, answer)
        _check_versions(host, answer)
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


def _check_versions(host: str, answer: dict) -> None:
    """Raises a CommandError where a unit could fail or make other bytes than here."""
    pairs = {"Python": (answer["python"], _own_python())}
    here = _own_versions()
    for name in _PACKAGES:
        pairs[name] = answer["versions"].get(name, "none"), here.get(name, "none")
    for name, (there, wanted) in pairs.items():
        if there != wanted:
            raise _error(
                f"{host} has {name} {there}, and this machine {wanted}",
                fix="install the same version on all nodes",
            )
    if answer["import_error"]:
        raise _error(
            f"{host} cannot import what the work needs: {answer['import_error']}",
            fix="install the requirements of this project there",
        )


def _own_python() -> str:
    return ray_probe.python()


def _own_versions() -> dict[str, str]:
    return ray_probe.versions(_PACKAGES)


def check_tensorflow(answers: Sequence[tuple[str, dict]]) -> None:
    """Raises a CommandError if a machine has another TensorFlow than this one."""
    wanted = installing.tensorflow()
    for host, answer in answers:
        versions = answer["versions"]
        found = next(
            (versions[n] for n in installing.TENSORFLOWS if n in versions), "none"
        )
        if found != wanted:
            raise _error(
                f"{host} has TensorFlow {found}, and this machine {wanted or 'none'}",
                fix="install the same version on all nodes",
            )


def _answers(
    nodes: Sequence[Node],
    files: ray_probe.Files,
    environment: dict[str, Any],
    modules: Sequence[str],
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
            ).remote(files, [*installing.TENSORFLOWS, *_PACKAGES], modules): node
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
) -> Iterator[tuple[list[pathlib.Path], ray_probe.Files]]:
    """Yields the shared folder of each file by which it is known, and those files.

    A name of a film may be that of a patient, so it goes to the nodes by a file in the
    first folder, and not through the engine.
    """
    # Object stores are reached by their address from everywhere.
    folders = [folder.absolute() for folder in shared if "://" not in str(folder)]
    is_local = bool(folders) and "://" not in str(shared[0])
    if is_local:
        folders[0].mkdir(parents=True, exist_ok=True)
    there = [folder for folder in folders if folder.exists()]
    if not is_local:
        yield there, ray_probe.Files([str(folder) for folder in there], "", "")
        return
    witnesses = [(f, _some_file(f)) for f in folders[1:]]
    known = [(f, file, file.stat().st_size) for f, file in witnesses if file]
    lines = [json.dumps([str(file), size]) for _, file, size in known]
    text = "\n".join([secrets.token_hex(), *lines])
    # What a killed command leaves is dropped with other unfinished files.
    with durable.aside(folders[0] / "probe") as probe_file:
        try:
            probe_file.write_text(text)
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            yield (
                [*there, folders[0], *(f for f, _, _ in known)],
                ray_probe.Files([str(f) for f in there], str(probe_file), sha256),
            )
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
