"""Measures the time from process start to the end of the first training step.

    python -m tests.benchmarks.sides.first_step MODEL FOLDER

Prints a line of JSON with the times, in seconds of the system's monotonic clock, at
which TensorFlow was imported, the Trainer was built, and the first step ended. Weights
are random, flags have their defaults, and the batch has 4 images.
"""

import json
import pathlib
import sys
import time

from absl import flags

from flags import trainer as trainer_flags


def train(model: str, folder: pathlib.Path) -> dict[str, float]:
    """Trains one step in the way trainer.loop starts a run."""
    given = [f"--model={model}", f"--data={folder}", "--workdir=none"]
    flags.FLAGS(["first_step", *given, "--global_batch_size=4"])
    config, execution = trainer_flags.train_config(), trainer_flags.execution()
    # Imported here, because the import is timed, too.
    import tensorflow as tf

    from trainer.input.fold_dataset import FoldDataset
    from trainer.trainer import Trainer

    seconds = {"imported": time.monotonic()}
    data = FoldDataset(config, execution.data)
    data.check()
    trainer = Trainer(config, execution, data)
    seconds["session"] = time.monotonic()
    batches = trainer.batches(trainer.augment, 0)
    trainer.train_steps(0)(batches, tf.constant(1)).losses.numpy()
    return seconds | {"first step": time.monotonic()}


if __name__ == "__main__":
    print(json.dumps(train(sys.argv[1], pathlib.Path(sys.argv[2]))))
