"""The sides of the training benchmark: our step on two inputs, and `keras.Model.fit`.

All sides have the same network, initial weights, batch norm, optimizer, loss and uint8
batches; each side with `fit` has its own copy of the network.
"""

import pathlib
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_prep.dataset import manifest
from data_prep.dataset import schema
from data_prep.dataset import shards
from tests.benchmarks.harness import timing
from tests.benchmarks.sides import augmentation_sides
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.input.fold_dataset import FoldDataset
from trainer.models import batch_norm
from trainer.models import registry
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.trainer import Trainer

PIPELINE, RESIDENT = "records, augmented", "resident batch"
_VALIDATION = 16


def fit_name(steps_per_execution: int) -> str:
    """Returns the name of the side that trains `steps_per_execution` steps per call."""
    return f"fit, steps_per_execution={steps_per_execution}"


def write(folder: pathlib.Path, size: int, count: int) -> None:
    """Writes a dataset of smooth films, a quarter of which have a disc as lesion.

    Args:
      folder: folder to write; fold 1 has `count` images, fold 0 a few.
      size: side of the images, in pixels.
      count: number of training images.
    """
    images, masks = augmentation_sides.images_and_masks(size)
    made = []
    for fold, of_fold in ((0, _VALIDATION), (1, count)):
        chosen = np.arange(of_fold) % len(images)
        for label in (0, 1):
            numbers = [k for k in range(of_fold) if masks[chosen[k]].any() == label]
            name = shards.file_name(shards.prefix("train", fold, label), 0, 1)
            written = shards.write(
                folder / name,
                (
                    _record(f"{fold}.{k}", images[chosen[k]], masks[chosen[k]], fold)
                    for k in numbers
                ),
            )
            facts = dict(
                zip(("num_records", "num_bytes", "sha256"), written, strict=True)
            )
            made.append(
                shards.Shard(name=name, split="train", fold=fold, label=label, **facts)
            )
    manifest.write(
        folder,
        manifest.Manifest(
            image_size=size,
            num_folds=2,
            options={"pixel_encoding": "raw"},
            mean=float(images.mean()),
            std=float(images.std()),
            source_fingerprint="",
            shards=tuple(made),
        ),
    )


def _record(name: str, image: np.ndarray, mask: np.ndarray, fold: int) -> bytes:
    return schema.serialize(
        schema.Record(
            image_id=name,
            pixels=image.tobytes(),
            source_height=1024,
            source_width=1024,
            mask_bits=schema.pack_mask(mask),
            label=int(mask.any()),
            fold=fold,
            group="",
        )
    )


class Sides:
    """Trains some steps on each side.

    Attributes:
      waited: [runs] fraction of each run that PIPELINE waited for input.
    """

    def __init__(self, config: TrainConfig, execution: Execution, steps: int):
        """Builds our side.

        Args:
          config: configuration of the run.
          execution: execution settings; PIPELINE and RESIDENT use `steps_per_call`.
          steps: steps in one run of a side.
        """
        self.waited: list[float] = []
        self._config, self._steps = config, steps
        self._steps_per_call = execution.steps_per_call
        self._trainer = Trainer(config, execution, FoldDataset(config, execution.data))
        self._first = self._trainer.state.model.get_weights()
        augmented = self._trainer.data.training(self._trainer.augment, 0)
        self.batch = next(iter(augmented.take(1)))

    def all(self, steps_per_execution: tuple[int, ...]) -> dict[str, Callable]:
        """Returns {side: function that performs one run}, `fit` once per value.

        A run's `output` is the mean loss of its steps.
        """
        # The pipeline's buffers are full before and after a run, because a step takes
        # longer than a batch: so each run includes the cost of the batches it uses.
        pipeline = self._trainer.batches(self._trainer.augment, 0)
        distribute = self._trainer.cluster.distribute
        resident = iter(distribute(_again_and_again(self.batch)))
        sides = {
            PIPELINE: lambda: self._train(pipeline, self.waited),
            RESIDENT: lambda: self._train(resident, []),
        }
        sides |= {fit_name(k): self._fitted(k) for k in steps_per_execution}
        return {name: lambda side=side: _timed(side) for name, side in sides.items()}

    def _train(self, iterator, waited: list[float]) -> float:
        found, waits, started = [], 0.0, time.perf_counter()
        while len(found) < self._steps:
            count = min(self._steps - len(found), self._steps_per_call)
            results = self._trainer.train_steps(0)(
                iterator, tf.constant(count), tf.constant(False), tf.constant(True)
            )
            found += results.losses.numpy().tolist()
            waits += float(results.waits.numpy().sum())
        waited.append(waits / (time.perf_counter() - started))
        return float(np.mean(found))

    def _fitted(self, steps_per_execution: int) -> Callable[[], float]:
        """Compiles a copy of the network for `fit`."""
        config = self._config
        model = registry.build_from_spec(
            config.model, image_size=self.batch["image"].shape[1]
        )
        batch_norm.set_up(model, momentum=config.batch_norm_momentum)
        model.set_weights(self._first)
        model.compile(
            optimizer=optimizers.build(config, model),
            loss={"mask": losses.parse(config.loss)},
            steps_per_execution=steps_per_execution,
        )
        pair = (self.batch["image"], {"mask": self.batch["mask"]})
        data = _again_and_again(pair)

        def fit() -> float:
            history = model.fit(
                data, steps_per_epoch=self._steps, shuffle=False, verbose=0
            )
            return history.history["loss"][-1]

        return fit


def _again_and_again(batch) -> tf.data.Dataset:
    """Repeats one batch forever; ending its iterator does not wait for an autotuner."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensors(batch).repeat().with_options(options)


def _timed(side: Callable[[], float]) -> timing.Run:
    cpu, started = time.process_time(), time.perf_counter()
    loss = side()
    wall_s = time.perf_counter() - started
    cpu_s = time.process_time() - cpu
    return timing.Run(wall_s=wall_s, cpu_s=cpu_s, output=str(loss))
