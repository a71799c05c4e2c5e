"""Predicts the images of a dataset: on this machine, on a cluster, or a part of them.

What a prediction is made of is in job.py, the networks on this process's devices are
in loaded_ensemble.py. The processes of a cluster load them in unit_process.py, and
array_parts.py divides the shards among the tasks of an array job. All of them leave
finished parts by prediction_folder.py, which joins them.
"""

import logging
import pathlib

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from inference.config import PredictConfig
from inference.ensemble import tta
from inference.prediction import array_parts
from inference.prediction import automatic_engine
from inference.prediction import cluster
from inference.prediction import convert_source
from inference.prediction import film_facts
from inference.prediction import job as jobs
from inference.prediction import prediction_outputs
from inference.prediction import process_setup
from inference.prediction import thresholds
from inference.prediction import unlike_csv
from inference.prediction.job import Job
from inference.prediction.loaded_ensemble import LoadedEnsemble
from inference.prediction.prediction_folder import PredictionFolder

# Films that the log names.
_NAMED = 5


def predict(config: PredictConfig) -> ExitCode:
    """Predicts, or resumes or confirms an earlier call with the same configuration.

    With `config.placement` it only plans, or does a part and joins nothing.

    Returns:
      DONE, or QUARANTINED if files of `config.source` are unreadable, or films were
      left out because they are unlike those of the training.

    Raises:
      CommandError: a member or dataset is bad, the output belongs to another
        prediction, a prediction is not finite, a device has too little memory, a
        required GPU is not used, or a part is asked for that was not planned.
    """
    placement = config.placement
    if placement.cluster:
        # The processes of the cluster have the devices, not this one.
        config = cluster.absolute(config)
    else:
        process_setup.set_up(config)
    tta.views(config.tta)
    tta.views(config.classifier_tta, "classifier_tta")
    tuned = thresholds.read(config.thresholds) if config.thresholds else None
    if tuned and not tuned.beats_all_empty:
        logging.warning(
            "%s says that its rule does not beat empty masks", config.thresholds
        )
    spec = tuned.postprocess if tuned else config.postprocess
    temperature = tuned.temperature if tuned else None
    _check_gate(config, spec)
    array_parts.refuse_unplanned(config)
    prediction_outputs.check_room(config)
    is_part = placement.part is not None
    with folder_lock.locked(config.output, shared=is_part):
        if not is_part:
            durable.drop_incomplete(config.output)
        code, data = _data(config)
        job = Job(jobs.settled(config, data, spec))
        if tuned:
            thresholds.check_members(tuned, config.thresholds, job.of_members)
        job, ensemble = automatic_engine.choose(job)
        folder = job.folder()
        if folder.complete():
            job.check_weights()
            folder.check_temperature(temperature)
            logging.info("%s is already complete", config.output)
        elif placement.plan_only:
            folder.resume()
            array_parts.plan(job, folder)
        elif is_part:
            array_parts.predict(job, folder, placement.part)
        else:
            _finish(job, folder, temperature, ensemble)
        if folder.is_sealed() and not is_part:
            folder.drop_parts()
            prediction_outputs.write(config, job.datasets[-1])
            if _tell_unlike(config) and config.on_unlike == "quarantine":
                code = ExitCode.QUARANTINED
    return code


def _tell_unlike(config: PredictConfig) -> int:
    """Logs which films are unlike those of the training; returns their number."""
    path = config.output / unlike_csv.FILE_NAME
    marked = unlike_csv.read(path) if path.exists() else {}
    if marked:
        more = ", ..." if len(marked) > _NAMED else ""
        logging.warning(
            "guard: %d films are unlike those that the members learned from, at "
            "--guard_quantile=%g%s: %s%s; %s has all",
            len(marked),
            config.guard_quantile,
            ", and are left out" if config.on_unlike == "quarantine" else "",
            ", ".join(list(marked)[:_NAMED]),
            more,
            path,
        )
    return len(marked)


def _check_gate(config: PredictConfig, spec: str) -> None:
    """Raises a ConfigError for a bad spec; warns of classifiers that decide nothing."""
    steps = jobs.parsed(config, spec)
    if steps and config.classifiers and steps.gate is None:
        logging.warning("no gate in %r: classifiers decide no mask", spec)


def _data(config: PredictConfig) -> tuple[ExitCode, tuple[pathlib.Path, ...]]:
    """Returns the dataset folders; converts the films of `config.source` first.

    Parts find the films converted, for --plan_only has done it.

    Raises:
      CommandError: the conversion fails.
    """
    if not config.source:
        return ExitCode.DONE, config.data
    if config.placement.part:
        return ExitCode.DONE, (config.output / convert_source.FOLDER,)
    return convert_source.convert(config)


def _finish(
    job: Job,
    folder: PredictionFolder,
    temperature: float | None,
    ensemble: LoadedEnsemble | None,
) -> None:
    """Predicts all chunks that the folder lacks, then writes the csvs."""
    folder.resume()
    total, left = len(job.all_chunks), job.left(folder)
    remaining = [chunk for of_shard in left.values() for chunk in of_shard]
    if len(remaining) < total:
        logging.info("%d images are left", jobs.num_images(remaining))
    array_parts.tell_left(job, folder, left)
    if job.config.placement.cluster:
        job.check_weights()
        cluster.predict(job, folder, left)
    else:
        # Before the claim, so that a bad member leaves no request.
        ensemble = ensemble or LoadedEnsemble(job)
        folder.claim()
        if remaining:
            num_images = jobs.num_images(remaining)
            with Tracker("predict", num_images, unit="images") as tracker:
                ensemble.predict(folder, remaining, tracker.advance)
    folder_lock.check_held(job.config.output)
    films = film_facts.read(job.datasets[-1].folder, temperature)
    folder.join([chunk.num_images for chunk in job.all_chunks], films)
