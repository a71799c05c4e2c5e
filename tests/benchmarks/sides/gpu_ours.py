"""Ours on a GPU: one process trains on a resident batch and on records, and predicts.

    python -m tests.benchmarks.sides.gpu_ours FOLDER SETTINGS

SETTINGS is the JSON of a `Settings`; FOLDER contains records that cases/reading.py
wrote. One process, because importing TensorFlow, tracing a large network and its first
step take more than a minute on a GPU, and the measurement takes seconds.
"""

import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable

from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import prepared
from tests.benchmarks.sides import gpu_case

RESIDENT, RECORDS, PREDICT = "train, resident batch", "train, records", "predict"
PRODUCT = "product"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What one side measures.

    Attributes:
      network: our spec, or PyTorch's architecture:encoder.
      size: side of the images, in pixels.
      batch: images a step.
      steps: steps of one measurement.
      augment: recipe of RECORDS.
      product: side of the matrices of the product measured beside it.
      cpu: whether the CPU replaces the GPU, to try the code.
      compiled: whether torch.compile is used.
    """

    network: str
    size: int = 256
    batch: int = 32
    steps: int = 20
    augment: str = "seed_segmentation"
    product: int = 8192
    cpu: bool = False
    compiled: bool = False


# Does some steps; returns the last loss, and the share of the time spent waiting for
# input, or None where that was not measured.
Phase = Callable[[], tuple[float, float | None]]


def timed(
    phases: dict[str, Phase], images: int, peak_bytes: Callable[[], int], reset
) -> dict[str, dict]:
    """Runs each phase once; returns {phase: its figures}."""
    found = {}
    for name, phase in phases.items():
        reset()
        started = time.perf_counter()
        loss, wait = phase()
        seconds = time.perf_counter() - started
        found[name] = {
            "images_s": images / seconds,
            "loss": loss,
            "wait": wait,
            "memory_bytes": peak_bytes(),
        }
    return found


def prepare(folder: pathlib.Path, settings: Settings):
    """Builds and traces everything; see `prepared.serve`."""
    import tensorflow as tf

    from trainer.augment import recipe

    case = gpu_case.Case(
        model=settings.network,
        size=settings.size,
        batch=settings.batch,
        precision="mixed_bfloat16",
        steps=settings.steps,
        input=gpu_case.RECORDS,
        augment_on="host",
        augment=settings.augment,
        cpu=settings.cpu,
    )
    strategy = gpu_case.start(case)
    trainer = gpu_case.Training(folder, case, strategy)
    batch = next(iter(gpu_case.batches(folder, case, recipe.parse("none"))))
    phases = {
        RESIDENT: lambda: trainer.run(resident),
        RECORDS: lambda: trainer.run(records),
        PREDICT: _prediction(trainer.model, batch["image"], settings.steps),
    }
    resident = trainer.batches(gpu_case.RESIDENT)
    records = trainer.batches(gpu_case.RECORDS)
    product = _product(settings)
    losses = [phase()[0] for phase in phases.values() for _ in range(2)]
    product()

    def measure():
        images = settings.batch * settings.steps
        found = timed(phases, images, *gpu_case.memory())
        return found | {PRODUCT: product()}

    facts = {
        "gflop": _gflop(trainer.model, settings.size),
        "first losses": losses,
        "framework": f"TensorFlow {tf.__version__}",
    }
    return measure, facts


def _prediction(model, images, steps: int) -> Phase:
    import tensorflow as tf

    forward = tf.function(
        lambda x: tf.sigmoid(model(tf.cast(x, tf.float32), training=False)["mask"])
    )

    def phase():
        for _ in range(steps):
            found = forward(images)
        # Fetching it waits for the device, which runs the calls in order.
        return float(tf.reduce_mean(found)), None

    return phase


def _product(settings: Settings) -> Callable[[], float]:
    """Returns a function that measures TFLOP/s of a bfloat16 matrix product."""
    import tensorflow as tf

    side = settings.product
    a = tf.cast(tf.random.uniform([side, side]), tf.bfloat16)
    multiply = tf.function(lambda x: tf.matmul(x, x))

    def run():
        float(multiply(a)[0, 0])
        started = time.perf_counter()
        for _ in range(10):
            found = multiply(a)
        float(found[0, 0])
        return 10 * 2 * side**3 / (time.perf_counter() - started) / 1e12

    return run


def _gflop(model, size: int) -> float:
    import tensorflow as tf

    forward = tf.function(lambda x: model(x, training=False)["mask"])
    one = forward.get_concrete_function(tf.TensorSpec([1, size, size, 1], tf.float32))
    return arithmetic.of_graph(one.graph)


def main() -> None:
    folder, text = pathlib.Path(sys.argv[1]), sys.argv[2]
    prepared.serve(lambda: prepare(folder, Settings(**json.loads(text))))


if __name__ == "__main__":
    main()
