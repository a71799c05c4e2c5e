"""Predicts shards on the machines of a cluster, each with the members loaded once."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

from data_prep.core import shared_files
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from data_prep.executors import choose
from data_prep.executors.executor import Executor
from data_prep.executors.executor import Resources
from inference.config import PredictConfig
from inference.inputs.chunks import Chunk
from inference.prediction import precision_change
from inference.prediction import unit_process
from inference.prediction.job import Job
from inference.prediction.job import num_images
from inference.prediction.prediction_folder import Claim
from inference.prediction.prediction_folder import PredictionFolder
from inference.prediction.process_notes import NotesReader

_Left = Mapping[int, Sequence[Chunk]]


def predict(job: Job, folder: PredictionFolder, left: _Left) -> None:
    """Claims the folder, and predicts the chunks that it lacks.

    A unit is a shard. What it leaves are its chunks' parts in the folder, as on one
    machine; only indices and names of shards go through the engine.

    Args:
      job: the job; its paths are absolute.
      folder: its folder.
      left: what it lacks, see job.left.

    Raises:
      CommandError: a member, a shard or a machine is bad, a required GPU is missing, or
        what was predicted is not in the folder.
    """
    with folder.claimed() as claim:
        if left:
            _predict(job, folder, left, claim)


def _predict(job: Job, folder: PredictionFolder, left: _Left, claim: Claim) -> None:
    config, notes = job.config, NotesReader(folder.path)
    sizes = {index: num_images(remaining) for index, remaining in left.items()}
    was_compared = folder.parts.change() is not None
    with choose.executor(config.placement, shared=_shared(config)) as executor:
        resources = _resources(config, executor)
        logging.info(
            "predicts %d shards on %s, each process with %d GPUs and %d cores",
            len(left),
            executor.note() or "this machine",
            resources.num_gpus,
            resources.num_cpus,
        )
        load = functools.partial(
            unit_process.load, config, num_threads=resources.num_cpus
        )
        try:
            with Tracker("predict", sum(sizes.values()), unit="images") as tracker:
                claim.is_sent = True
                for index, _ in executor.run_loaded(
                    load, list(left), cost_of=sizes.__getitem__, resources=resources
                ):
                    claim.is_answered = True
                    tracker.advance(sizes[index], note=executor.note())
                    notes.repeat()
        finally:
            notes.repeat(now=True)
    _await_parts(folder, left)
    change = folder.parts.change()
    if change and not was_compared:
        precision_change.log(
            config.predict_precision, precision_change.Change(**change)
        )


def absolute(config: PredictConfig) -> PredictConfig:
    """Returns a configuration whose paths mean the same in every working folder."""
    changed = {
        name: tuple(path.absolute() for path in getattr(config, name))
        for name in ("data", "members", "classifiers")
    }
    for name in ("source", "thresholds", "output", "guard"):
        path = getattr(config, name)
        changed[name] = path and path.absolute()
    return dataclasses.replace(config, **changed)


def _shared(config: PredictConfig) -> list[pathlib.Path]:
    """Returns the folders that every machine of the cluster must see."""
    guard = [config.guard] if config.guard else []
    return [
        config.output,
        *config.data,
        *config.members,
        *config.classifiers,
        *guard,
    ]


def _resources(config: PredictConfig, executor: Executor) -> Resources:
    """Returns what each process with loaded members occupies.

    Raises:
      CommandError: a GPU is required, and the cluster has none.
    """
    resources = executor.devices(gpus=config.engine.name == "tensorflow")
    if config.require_gpu and not resources.num_gpus:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "--require_gpu is set, and the cluster has no GPU that "
            f"{config.engine} could use",
            fix="start its nodes with their GPUs, or run without --require_gpu",
        )
    return resources


def _await_parts(folder: PredictionFolder, left: _Left) -> None:
    """Waits until this machine sees what others have written.

    Raises:
      CommandError: it does not.
    """
    missing = {chunk.index for of_shard in left.values() for chunk in of_shard}

    def is_seen() -> bool:
        # What was seen once is not looked for again.
        missing.difference_update(folder.finished(missing))
        return not missing

    if shared_files.wait(is_seen, folder.parts.folder, what="the last parts"):
        return
    unseen = [k for k in left if any(c.index in missing for c in left[k])]
    raise CommandError(
        ExitCode.ENVIRONMENT,
        f"{len(unseen)} shards were predicted on other machines, and {folder.path} "
        "does not have their parts",
        fix="give a folder that all machines of the cluster share",
    )
