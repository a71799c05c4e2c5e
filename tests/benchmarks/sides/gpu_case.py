"""Runs one measurement on GPUs in a separate process.

    python -m tests.benchmarks.sides.gpu_case FOLDER CASE

CASE is the JSON of a `Case`; FOLDER contains records that cases/reading.py wrote.
Prints the result as a line of JSON.
"""

import dataclasses
import json
import pathlib
import sys
import time

import numpy as np

TRAIN, PREDICT = "train", "predict"
RECORDS, RESIDENT = "records", "resident"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """The settings of one measurement.

    Attributes:
      kind: TRAIN or PREDICT.
      model: spec of the network.
      size: side of the images, in pixels.
      batch: images per step and replica.
      precision: Keras dtype policy.
      jit: whether XLA compiles the step.
      fused: whether trainer/models/fused/ and the fused Adam are used.
      deterministic: whether ops are bitwise reproducible.
      augment_on: "host", "device" or "none".
      augment: spec or name of the augmentation recipe.
      input: RECORDS, or RESIDENT to repeat one batch.
      replicas: number of GPUs, or of logical CPUs.
      steps: steps per call of the graph.
      rounds: number of timed calls.
      cpu: whether logical CPUs replace the GPUs, to try the code without a GPU.
    """

    kind: str = TRAIN
    model: str
    size: int
    batch: int
    precision: str = "float32"
    jit: bool = False
    fused: bool = True
    deterministic: bool = False
    augment_on: str = "none"
    augment: str = "seed_segmentation"
    input: str = RESIDENT
    replicas: int = 1
    steps: int = 20
    rounds: int = 7
    cpu: bool = False


def measure(folder: pathlib.Path, case: Case) -> dict:
    """Returns the result.

    It is {"images_s": by round, "wait": shares by round, "loss": the last,
    "memory_bytes": the largest so far}; a share is None where it was not measured.
    """
    strategy = start(case)
    call = (_training if case.kind == TRAIN else _prediction)(folder, case, strategy)
    call()  # Traces and compiles.
    call()
    images, result = (
        case.batch * case.replicas * case.steps,
        {"images_s": [], "wait": []},
    )
    for _ in range(case.rounds):
        started = time.perf_counter()
        loss, wait = call()
        result["images_s"].append(images / (time.perf_counter() - started))
        result["wait"].append(wait)
    return result | {"loss": loss, "memory_bytes": memory()[0]()}


def start(case: Case):
    """Sets the visible devices, and returns the strategy."""
    import tensorflow as tf

    from trainer.distributed import runtime

    if case.cpu:
        cpu = tf.config.list_physical_devices("CPU")[0]
        configuration = [tf.config.LogicalDeviceConfiguration()] * case.replicas
        tf.config.set_logical_device_configuration(cpu, configuration)
    else:
        gpus = tf.config.list_physical_devices("GPU")
        tf.config.set_visible_devices(gpus[: case.replicas], "GPU")
    return runtime.start(_config(case), "mirrored" if case.replicas > 1 else "single")


def _config(case: Case):
    from tests import fakes

    return fakes.train_config(
        learning_rate=1e-4,
        global_batch_size=case.batch * case.replicas,
        precision=case.precision,
        jit=case.jit,
        fused=case.fused,
        deterministic=case.deterministic,
    )


class Training:
    """A network and its training step.

    Attributes:
      model: the network.
    """

    def __init__(self, folder: pathlib.Path, case: Case, strategy):
        from trainer import step
        from trainer.augment import compiled
        from trainer.augment import recipe
        from trainer.models import batch_norm
        from trainer.models import registry
        from trainer.optim import losses
        from trainer.optim import optimizers

        self._folder, self._case, self._strategy = folder, case, strategy
        with strategy.scope():
            self.model = registry.build_from_spec(
                case.model, image_size=case.size, fused=case.fused
            )
            batch_norm.set_up(self.model, momentum=0.99)
            optimizer = optimizers.build(_config(case), self.model)
        spec = recipe.parse("none" if case.augment_on == "none" else case.augment)
        on_device = case.augment_on == "device"
        self._augment = None if on_device else compiled.image_by_image(spec)
        self._train = step.make_train(
            strategy,
            self.model,
            optimizer,
            losses.parse("bce(1)+dice(1)"),
            _config(case),
            augment=compiled.at_once(spec) if on_device else None,
        )

    def batches(self, input_: str):
        """Returns an endless iterator over batches, from RECORDS or RESIDENT."""
        data = batches(self._folder, self._case, self._augment)
        if input_ == RESIDENT:
            data = data.take(1).cache().repeat()
        return iter(self._strategy.experimental_distribute_dataset(data))

    def run(self, iterator) -> tuple[float, float | None]:
        """Trains; returns the last loss, and the share of the time spent waiting.

        The share is None where no step measured it.
        """
        import tensorflow as tf

        started = time.perf_counter()
        # The last two: without the gradient's norm, with the wait for input.
        num_steps = tf.constant(self._case.steps)
        results = self._train(iterator, num_steps, False, True)
        loss, waits = float(results.losses[-1]), np.asarray(results.waits)
        return loss, share_of_wait(waits, time.perf_counter() - started)


def share_of_wait(waits: np.ndarray, seconds: float) -> float | None:
    """Returns the share of `seconds` that the steps waited for their input.

    Args:
      waits: [K] seconds of each step; NaN for steps in which it was not measured.
      seconds: duration of all K steps.
    """
    measured = waits[np.isfinite(waits)]
    if not len(measured):
        return None
    return float(measured.mean()) * len(waits) / seconds


def _training(folder: pathlib.Path, case: Case, strategy):
    training = Training(folder, case, strategy)
    iterator = training.batches(case.input)
    return lambda: training.run(iterator)


def memory():
    """Returns functions that return the peak of the first GPU's memory, and reset it.

    Without a GPU the peak is 0.
    """
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return (lambda: 0), (lambda: None)
    of = tf.config.experimental
    return (
        lambda: of.get_memory_info("GPU:0")["peak"],
        lambda: of.reset_memory_stats("GPU:0"),
    )


def _prediction(folder: pathlib.Path, case: Case, strategy):
    import tensorflow as tf

    from trainer.augment import recipe
    from trainer.models import registry

    with strategy.scope():
        model = registry.build_from_spec(case.model, image_size=case.size)

    @tf.function(jit_compile=case.jit)
    def forward(images):
        return tf.sigmoid(model(tf.cast(images, tf.float32), training=False)["mask"])

    batch = next(iter(batches(folder, case, recipe.parse("none"))))

    def call():
        for _ in range(case.steps):
            found = forward(batch["image"])
        return float(tf.reduce_mean(found)), None  # Fetching it waits for the device.

    return call


def batches(folder: pathlib.Path, case: Case, augment=None):
    from tests.benchmarks.sides import input_sides
    from trainer.input import input_pipeline
    from trainer.input import sampling
    from trainer.input.record_store import CachedSource
    from trainer.input.record_store import RandomAccessSource
    from trainer.input.records import Decoder

    decode = Decoder(image_size=case.size, pixel_encoding="raw", with_mask=True)
    store = CachedSource(
        RandomAccessSource(folder, input_sides.shards_of(folder), decode), decode
    )
    numbers, size = np.arange(_count(folder)), case.batch * case.replicas
    order = sampling.parse("natural").order(
        sampling.Request(
            positives=numbers[:1],
            negatives=numbers[1:],
            epochs=1,
            batch_size=size,
            seed=1,
        )
    )
    return input_pipeline.for_training(order, store, augment, batch_size=size, seed=1)


def _count(folder: pathlib.Path) -> int:
    from tests.benchmarks.sides import input_sides

    return sum(shard.num_records for shard in input_sides.shards_of(folder))


def main() -> None:
    folder, text = sys.argv[1:]
    result = measure(pathlib.Path(folder), Case(**json.loads(text)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
