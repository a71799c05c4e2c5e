"""Measures the peak memory of a training step in a separate process.

    python -m tests.benchmarks.sides.memory_case CASE

CASE is the JSON of a `Case`. Prints a line of JSON: bytes of the peak, and of what was
in use before the step. On a GPU these are TensorFlow's own counters; on a CPU, too,
which has them with the allocator that GPUs have (`TF_CPU_ALLOCATOR_USE_BFC`).
"""

import dataclasses
import json
import os
import sys


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A training step on one device.

    Attributes:
      model: spec of the network.
      size: side of the images, in pixels.
      batch: images per step.
      accumulation: parts of the batch.
      precision: Keras dtype policy.
      fused: whether trainer/models/fused/ and the fused Adam are used.
    """

    model: str
    size: int
    batch: int
    accumulation: int = 1
    precision: str = "float32"
    fused: bool = True


def config(case: Case):
    """Returns the configuration of a run."""
    from tests import fakes

    return fakes.train_config(
        model=case.model,
        global_batch_size=case.batch,
        accumulation=case.accumulation,
        precision=case.precision,
        fused=case.fused,
        deterministic=False,
    )


def measure(case: Case) -> dict[str, int]:
    """Returns {"peak": bytes, "before": bytes} of the second call of the step."""
    import tensorflow as tf

    from trainer import step
    from trainer.distributed import runtime
    from trainer.models import batch_norm
    from trainer.models import registry
    from trainer.optim import losses
    from trainer.optim import optimizers

    run = config(case)
    strategy = runtime.start(run, "single")
    model = registry.build_from_spec(case.model, image_size=case.size, fused=case.fused)
    batch_norm.set_up(model, momentum=0.9)
    optimizer = optimizers.build(run, model)
    loss = losses.parse(run.loss)
    train = step.make_train(strategy, model, optimizer, loss, run)
    pixels = tf.zeros([case.batch, case.size, case.size, 1], tf.uint8)
    batch = {"image": pixels + 100, "mask": pixels}
    batch["label"] = tf.zeros([case.batch], tf.int64)
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    # The first call traces, and cuDNN tries its algorithms.
    float(train(batches, tf.constant(1)).losses[-1])
    before = tf.config.experimental.get_memory_info(device)["current"]
    tf.config.experimental.reset_memory_stats(device)
    float(train(batches, tf.constant(2)).losses[-1])
    peak = tf.config.experimental.get_memory_info(device)["peak"]
    return {"peak": peak, "before": before}


def main() -> None:
    os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "1"
    from trainer.machine import backend

    backend.load()
    print(json.dumps(measure(Case(**json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
