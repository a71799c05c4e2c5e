"""One side of tests/benchmarks/cases/stacks.py, which trains on a resident batch."""

import pathlib
import platform
import sys
import tempfile

import numpy as np

from tests.benchmarks.harness import worker

_NUM_IMAGES = 64


def main() -> None:
    case = sys.argv[1]
    facts = {}

    def make():
        from trainer.machine import backend

        backend.load()
        import keras
        import tensorflow as tf

        from tests.benchmarks.cases import training
        from tests.benchmarks.sides import training_sides

        facts["versions"] = (
            f"TensorFlow {tf.__version__}, Keras {keras.__version__}, "
            f"numpy {np.__version__}, Python {platform.python_version()}"
        )
        chosen = training.CASES[case]
        with tempfile.TemporaryDirectory(prefix="stack-") as name:
            folder = pathlib.Path(name)
            training_sides.write(folder, chosen.size, _NUM_IMAGES)
            made = training_sides.Sides(*training.read(chosen, folder), steps=1)
            train = made.all(())[training_sides.RESIDENT]
            losses = [float(train().output) for _ in range(2)]
        return train, lambda: {"losses": np.array(losses)}

    worker.serve(make, facts)


if __name__ == "__main__":
    main()
