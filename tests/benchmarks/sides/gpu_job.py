"""The whole prediction of records on a GPU, and its networks' rate alone.

    python -m tests.benchmarks.sides.gpu_job FOLDER SETTINGS

SETTINGS is the JSON of a `Settings`. The job is `inference.main` with one member whose
weights are random, so that no film has a mask; the part of the job in which everything
is traced is left out: its rate is that of the parts after the first. The time of each
part is that at which its file was written.
"""

import contextlib
import dataclasses
import json
import pathlib
import sys
import threading
import time

import numpy as np

from tests.benchmarks.harness import prepared

_POLL_S = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The job.

    Attributes:
      network: spec of the member.
      size: side of the images, in pixels.
      films: number of films.
      batch: images in a batch.
    """

    network: str
    size: int = 256
    films: int = 2048
    batch: int = 64


def prepare(folder: pathlib.Path, settings: Settings):
    """Writes films and member, and imports everything; see `prepared.serve`."""
    from trainer.machine import backend

    backend.load()
    import tensorflow as tf

    from tests.benchmarks.fixtures import bulk_job

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    rng = np.random.default_rng(1)
    shape = (settings.films, settings.size, settings.size)
    data = bulk_job.write_films(
        folder / "films", rng.integers(60, 160, shape, dtype=np.uint8)
    )
    member = bulk_job.write_empty_member(folder / "member", data, settings.network)
    numbers = iter(range(sys.maxsize))

    def measure():
        return _measure(folder / f"job{next(numbers)}", data, member, settings)

    return measure, {"framework": f"TensorFlow {tf.__version__}"}


def _measure(output, data, member, settings: Settings) -> dict:
    """Predicts with the command's own function, then times the networks alone."""
    from inference.config import PredictConfig
    from inference.prediction import predict
    from tests.benchmarks.sides import inference_stages

    config = PredictConfig(
        data=(data,),
        source=None,
        members=(member,),
        output=output,
        batch_size=settings.batch,
        num_workers=1,
        require_gpu=False,
    )
    watch = _Watch(output / "parts")
    started = time.perf_counter()
    with watch:
        predict.predict(config)
    seconds = time.perf_counter() - started
    stages = inference_stages.measure(data, [member], settings.batch)
    return {
        "films_s": watch.films_s(settings.films),
        "networks_s": 1 / stages[inference_stages.MODEL],
        "seconds": seconds,
        "masks": _num_masks(output / "submission.csv"),
    }


class _Watch:
    """Notes when the files of a folder were written, before they are deleted."""

    def __init__(self, folder: pathlib.Path):
        self._folder, self._times = folder, {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_POLL_S):
            # The folder is deleted at the end.
            with contextlib.suppress(FileNotFoundError):
                for path in self._folder.rglob("part-*.json"):
                    if path.name not in self._times:
                        self._note(path)

    def _note(self, path: pathlib.Path) -> None:
        try:
            self._times[path.name] = path.stat().st_mtime
        except FileNotFoundError:
            return

    def films_s(self, films: int) -> float | None:
        """Returns the rate after the first part; None if there are too few parts."""
        if len(self._times) < 2:
            return None
        times = sorted(self._times.values())
        share = (len(times) - 1) / len(times)
        return films * share / max(times[-1] - times[0], 1e-9)


def _num_masks(path: pathlib.Path) -> int:
    rows = path.read_text().splitlines()[1:]
    return sum(not row.endswith(",-1") for row in rows)


def main() -> None:
    folder, text = pathlib.Path(sys.argv[1]), sys.argv[2]
    prepared.serve(lambda: prepare(folder, Settings(**json.loads(text))))


if __name__ == "__main__":
    main()
