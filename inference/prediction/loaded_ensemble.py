"""The members of a prediction, loaded on the devices of this process."""

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.dataset import manifest as manifests
from inference.ensemble.cascade import Prediction
from inference.ensemble.members import Loader
from inference.inputs import chunks
from inference.inputs.chunks import Chunk
from inference.inputs.chunks import ImageChunk
from inference.prediction import device_workers
from inference.prediction import precision_change
from inference.prediction.background import Background
from inference.prediction.chunk_results import ResultMaker
from inference.prediction.device_pool import DevicePool
from inference.prediction.device_pool import Stop
from inference.prediction.device_workers import DeviceWorker
from inference.prediction.job import Job
from inference.prediction.joining import Row
from inference.prediction.prediction_folder import PredictionFolder


class LoadedEnsemble:
    """Predicts chunks of a job and writes them into its folder.

    Args:
      job: the job.

    Raises:
      CommandError: a member is bad, see members.Loader.
    """

    def __init__(self, job: Job):
        config = job.config
        self._job, self._config = job, config
        loader = Loader(
            config.weights,
            job.found,
            config.engine,
            config.predict_precision,
            compares=job.compares,
        )
        self._groups = {
            fold: loader.load_group(group.members, group.classifiers, config.guard)
            for fold, group in job.groups.items()
        }
        self._passes = job.steps.passes if job.steps else lambda probability: True
        self._make_results = ResultMaker(
            postprocess=job.steps, aspect=job.aspect, keeps_maps=config.keeps_maps
        )
        self._stop, self._workers = Stop(), []

    def predict(
        self,
        folder: PredictionFolder,
        remaining: Sequence[Chunk],
        advance: Callable[[int], None] = lambda num_images: None,
    ) -> None:
        """Predicts chunks and writes them; on all devices, in one stream.

        Args:
          folder: the job's folder.
          remaining: the chunks, by their index; one or more.
          advance: called with the number of images of each predicted chunk.

        Raises:
          CommandError: a shard is damaged, a prediction is not finite, or a device has
            too little memory.
        """
        wanted = {chunk.index for chunk in remaining}
        job, planned = self._job, self._job.all_chunks
        needed = [any(c.index in wanted for c in of_shard) for of_shard in job.chunks]
        for dataset, shards in zip(job.datasets, job.shards, strict=True):
            read = [s for s, is_read in zip(shards, needed, strict=True) if is_read]
            manifests.check_shards(dataset.folder, read, to_read=True)
        workers = self._placed(remaining)
        work = [
            functools.partial(self._predict_chunk, folder, planned, worker)
            for worker in workers
        ]
        done = [chunk.index not in wanted for chunk in planned]
        stream = chunks.read(job.datasets, job.shards, done)
        try:
            with (
                # Masks of earlier chunks are made while the networks run the next ones.
                Background(num_threads=1 + len(workers)) as background,
                DevicePool(work, self._stop) as pool,
            ):
                for (index, images), result in pool.map(stream):
                    chunk = planned[index]
                    background.put(self._write, folder, chunk, images, *result)
                    advance(chunk.num_images)
        except BaseException:
            # They may have been stopped for good.
            self._stop, self._workers = Stop(), []
            raise

    @property
    def number_formats(self) -> set[str]:
        """Number formats in which the networks compute, such as "bfloat16"."""
        groups = self._groups.values()
        policies = {m.network.policy for group in groups for m in group.members}
        return {policy.removeprefix("mixed_") for policy in policies}

    def first_part(self) -> tuple[ImageChunk, Prediction, list[Row]]:
        """Predicts the first chunk on one device, and writes nothing.

        Returns:
          Its images, their prediction, and the rows made from it.

        Raises:
          CommandError: as `predict`.
        """
        job, chunk = self._job, self._job.all_chunks[0]
        for dataset, shards in zip(job.datasets, job.shards, strict=True):
            manifests.check_shards(dataset.folder, shards[:1], to_read=True)
        done = [c.index != chunk.index for c in job.all_chunks]
        with contextlib.closing(chunks.read(job.datasets, job.shards, done)) as stream:
            _, images = next(stream)
        # The devices are chosen again for the whole.
        worker, self._workers = self._placed([chunk])[0], []
        prediction = worker.predict(chunk.fold, images)
        return images, prediction, self._make_results(images, prediction, chunk.fold)[0]

    def _placed(self, remaining: Sequence[Chunk]) -> list[DeviceWorker]:
        """Returns the devices with the members on them; they stay there."""
        compares = self._config.is_compared and any(c.index == 0 for c in remaining)
        if not self._workers or (compares and not self._workers[0].in_float32):
            # Drops the copies on the devices before others are made.
            self._workers = []
            self._workers = device_workers.place(
                self._config, self._groups, self._passes, self._stop, remaining
            )
        return self._workers

    def _predict_chunk(
        self,
        folder: PredictionFolder,
        planned: Sequence[Chunk],
        worker: DeviceWorker,
        indexed: tuple[int, ImageChunk],
    ) -> tuple[Prediction, float]:
        """Returns the prediction of a chunk, and the seconds that it took."""
        index, images = indexed
        fold = planned[index].fold
        start = time.perf_counter()
        prediction = worker.predict(fold, images)
        seconds = time.perf_counter() - start
        if index == 0 and worker.in_float32:
            try:
                both = prediction, worker.predict_in_float32(images)
            except CommandError as e:
                # float32 may not fit where this precision does.
                logging.warning("not compared with float32: %s", e)
                return prediction, seconds
            rows = tuple(self._make_results(images, p, fold)[0] for p in both)
            change = precision_change.measure(images, both, rows)
            # Written before the chunk itself, so that no later call lacks it.
            folder.parts.write_change(dataclasses.asdict(change))
            precision_change.log(self._config.predict_precision, change)
        return prediction, seconds

    def _write(
        self,
        folder: PredictionFolder,
        chunk: Chunk,
        images: ImageChunk,
        prediction: Prediction,
        seconds: float,
    ) -> None:
        if folder.has(chunk.index) or folder.is_sealed():
            # By another attempt at the chunk, while this one was taken for dead.
            return
        start = time.perf_counter()
        rows, maps = self._make_results(images, prediction, chunk.fold)
        seconds += time.perf_counter() - start
        folder.write(chunk.index, rows, maps, seconds / chunk.num_images)
