"""Predicts the images of a dataset, and post-processes while the networks run."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from data_prep.dataset import manifest as manifests
from inference.config import PredictConfig
from inference.ensemble import tta
from inference.ensemble.cascade import Prediction
from inference.ensemble.members import Loader
from inference.inputs import chunks
from inference.inputs import datasets as dataset_folders
from inference.inputs.chunks import Chunk
from inference.inputs.chunks import ImageChunk
from inference.masks import postprocess
from inference.masks.postprocess import Postprocess
from inference.prediction import convert_source
from inference.prediction import device_workers
from inference.prediction import out_of_fold
from inference.prediction import precision_change
from inference.prediction import prediction_outputs
from inference.prediction import provenance
from inference.prediction import thresholds
from inference.prediction.background import Background
from inference.prediction.chunk_results import ResultMaker
from inference.prediction.device_pool import DevicePool
from inference.prediction.device_pool import Stop
from inference.prediction.device_workers import DeviceWorker
from inference.prediction.prediction_folder import PredictionFolder
from trainer.machine import devices
from trainer.run import run_folder


def predict(config: PredictConfig) -> ExitCode:
    """Predicts, or resumes or confirms an earlier call with the same configuration.

    Returns:
      DONE, or QUARANTINED if files of `config.source` are unreadable.

    Raises:
      CommandError: a member or dataset is bad, the output belongs to another
        prediction, a prediction is not finite, a device has too little memory, or a
        required GPU is not used.
    """
    in_trained = config.predict_precision == "trained"
    devices.announce(
        str(config.engine) + ("" if in_trained else f" {config.predict_precision}"),
        most_gpus=None if config.engine.name == "tensorflow" else 0,
        require_gpu=config.require_gpu,
    )
    devices.grow_memory()
    # Otherwise cuDNN's kernels, and the last bits, differ from run to run.
    tf.config.experimental.enable_op_determinism()
    # TF32 rounds the factors of products to 10 bits.
    tf.config.experimental.enable_tensor_float_32_execution(in_trained)
    tta.views(config.tta)
    tta.views(config.classifier_tta, "classifier_tta")
    tuned = thresholds.read(config.thresholds) if config.thresholds else None
    if tuned and not tuned.beats_all_empty:
        logging.warning(
            "%s says that its rule does not beat empty masks", config.thresholds
        )
    spec = tuned.postprocess if tuned else config.postprocess
    steps = _postprocess(config, spec)
    with folder_lock.locked(config.output):
        durable.drop_incomplete(config.output)
        code, data = ExitCode.DONE, config.data
        if config.source:
            code, data = convert_source.convert(config)
        job = _Job(config, data, steps)
        groups = job.groups.values()
        if tuned:
            members = provenance.of_members(config, groups)
            thresholds.check_members(tuned, config.thresholds, members)
        expanded = postprocess.expand(spec) if steps else None
        folder = PredictionFolder(
            config.output,
            provenance.of_prediction(config, groups, job.datasets, expanded),
        )
        if folder.complete():
            logging.info("%s is already complete", config.output)
        else:
            folder.claim()
            job.run(folder)
        folder.drop_parts()
        prediction_outputs.write(config, job.datasets[-1])
    return code


def _postprocess(config: PredictConfig, spec: str) -> Postprocess | None:
    """Parses the spec, or returns None if the prediction makes no masks."""
    if config.split != "test" or not config.members:
        return None
    steps = postprocess.parse(spec, gated=bool(config.classifiers))
    if config.classifiers and steps.gate is None:
        logging.warning("no gate in %r: classifiers decide no mask", spec)
    return steps


class _Job:
    """The loaded members and the shards of one prediction.

    Attributes:
      groups: {fold: the members that predict its images}.
      datasets: the datasets that a member reads, by image size.
    """

    def __init__(
        self,
        config: PredictConfig,
        data: tuple[pathlib.Path, ...],
        steps: Postprocess | None,
    ):
        self._config = config
        datasets = dataset_folders.find(data)
        runs = config.members + config.classifiers
        dataset_folders.warn_of_other_versions(
            [run_folder.open_finished(path) for path in runs]
        )
        loader = Loader(
            config.weights, datasets, config.engine, config.predict_precision
        )
        self.groups = {
            fold: loader.load_group(group.members, group.classifiers)
            for fold, group in out_of_fold.members_by_fold(config, datasets).items()
        }
        used = [m.dataset for group in self.groups.values() for m in group.members]
        # The order of --data must not matter.
        self.datasets = sorted(
            (d for d in datasets if any(d is other for other in used)),
            key=lambda d: d.manifest.image_size,
        )
        folds = None if config.split == "test" else sorted(self.groups)
        self._shards = dataset_folders.shards_of(self.datasets, folds)
        self._passes = steps.passes if steps else lambda probability: True
        self._make_results = ResultMaker(
            postprocess=steps,
            aspect=self.datasets[0].manifest.options["aspect"],
            keeps_maps=config.keeps_maps,
        )

    def run(self, folder: PredictionFolder) -> None:
        """Predicts all chunks that the folder lacks, then writes the csvs."""
        for dataset, shards in zip(self.datasets, self._shards, strict=True):
            manifests.check_shards(dataset.folder, shards, to_read=True)
        planned = [c for shard in chunks.plan(self._shards[0]) for c in shard]
        done = [folder.has(chunk.index) for chunk in planned]
        remaining = [c for c, d in zip(planned, done, strict=True) if not d]
        num_remaining = sum(c.num_images for c in remaining)
        if any(done):
            logging.info("%d images are left", num_remaining)
        if remaining:
            self._predict(folder, planned, done, remaining)
        folder.join([chunk.num_images for chunk in planned])

    def _predict(
        self,
        folder: PredictionFolder,
        planned: Sequence[Chunk],
        done: Sequence[bool],
        remaining: Sequence[Chunk],
    ) -> None:
        stop = Stop()
        workers = device_workers.place(
            self._config, self.groups, self._passes, stop, remaining
        )
        work = [
            functools.partial(self._predict_chunk, folder, planned, worker)
            for worker in workers
        ]
        num_images = sum(chunk.num_images for chunk in remaining)
        stream = chunks.read(self.datasets, self._shards, done)
        with (
            Tracker("predict", num_images, unit="images") as tracker,
            # Masks of earlier chunks are made while the networks run the next ones.
            Background(num_threads=1 + len(workers)) as background,
            DevicePool(work, stop) as pool,
        ):
            for (index, images), prediction in pool.map(stream):
                chunk = planned[index]
                background.put(self._write, folder, chunk, images, prediction)
                tracker.advance(chunk.num_images)

    def _predict_chunk(
        self,
        folder: PredictionFolder,
        planned: Sequence[Chunk],
        worker: DeviceWorker,
        indexed: tuple[int, ImageChunk],
    ) -> Prediction:
        index, images = indexed
        fold = planned[index].fold
        prediction = worker.predict(fold, images)
        if index == 0 and worker.in_float32:
            try:
                both = prediction, worker.predict_in_float32(images)
            except CommandError as e:
                # float32 may not fit where this precision does.
                logging.warning("not compared with float32: %s", e)
                return prediction
            rows = tuple(self._make_results(images, p, fold)[0] for p in both)
            change = precision_change.measure(images, both, rows)
            # Written before the chunk itself, so that no later call lacks it.
            folder.write_change(dataclasses.asdict(change))
            precision = self._config.predict_precision
            logging.info("predict_precision=%s: %s", precision, change)
        return prediction

    def _write(
        self,
        folder: PredictionFolder,
        chunk: Chunk,
        images: ImageChunk,
        prediction: Prediction,
    ) -> None:
        rows, maps = self._make_results(images, prediction, chunk.fold)
        folder.write(chunk.index, rows, maps)
