"""Loads ensemble members from their run folders and verifies their weights."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from data_prep.core import cores
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import Engine
from inference.ensemble import openvino_engine
from inference.inputs import datasets as dataset_folders
from inference.inputs.datasets import Dataset
from trainer.models import registry
from trainer.run import run_folder

# Outputs of a network: logits [B, S, S, 1] or [B, 1].
MASK, LABEL = "mask", "label"
_WITHOUT = {
    MASK: "is a classifier, which outlines nothing",
    LABEL: "is a segmenter, which does not classify",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One trained network.

    Attributes:
      logits: maps [B, S, S, 1] float32 in 0..255 to float32 logits, [B, S, S, 1] or
        [B, 1].
      path: its run folder.
      dataset: the dataset with images of its size and preprocessing.
      weights_sha256: sha256 of the loaded weights.
    """

    logits: Callable[[tf.Tensor], tf.Tensor]
    path: pathlib.Path
    dataset: Dataset
    weights_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedGroup:
    """The members that predict the same images together.

    Attributes:
      segmenters: members with masks.
      classifiers: members with labels.
    """

    segmenters: list[Member]
    classifiers: list[Member]

    @property
    def members(self) -> list[Member]:
        """All members."""
        return self.segmenters + self.classifiers


class Loader:
    """Loads members; members of one architecture share its graph.

    Args:
      weights: which weights of each member to load.
      datasets: the datasets that the members may read.
      engine: runs the networks.
    """

    def __init__(self, weights: str, datasets: Sequence[Dataset], engine: Engine):
        self._weights, self._datasets, self._engine = weights, datasets, engine
        self._networks: dict[tuple, Network] = {}

    def load_group(
        self, segmenters: Sequence[pathlib.Path], classifiers: Sequence[pathlib.Path]
    ) -> LoadedGroup:
        """Loads the run folders of segmenters and classifiers, see `load_all`."""
        return LoadedGroup(
            segmenters=self.load_all(segmenters, MASK),
            classifiers=self.load_all(classifiers, LABEL),
        )

    def load_all(self, paths: Sequence[pathlib.Path], output: str) -> list[Member]:
        """Loads members, in an order that does not depend on the order of `paths`.

        Args:
          paths: run folders.
          output: MASK or LABEL.

        Raises:
          CommandError: a run is unfinished or changed, weights are not finite or appear
            twice, a network lacks the output, no dataset has its size and
            preprocessing, or the engine cannot run it.
        """
        by_hash: dict[str, Member] = {}
        for path in paths:
            member = self._load(path, output)
            other = by_hash.setdefault(member.weights_sha256, member)
            if other is not member:
                raise CommandError(
                    ExitCode.FLAGS,
                    f"{member.path} and {other.path} have the same weights",
                    fix="leave one out; it would count twice",
                )
        # A sum of floats depends on the order of its terms.
        return [by_hash[digest] for digest in sorted(by_hash)]

    def _load(self, path: pathlib.Path, output: str) -> Member:
        run = run_folder.open_finished(path)
        dataset = dataset_folders.for_run(run, self._datasets)
        file = run.verified_weights(self._weights)
        config = run.config
        kind = (
            config["model"],
            dataset.manifest.image_size,
            config["precision"],
            config["fused"],
        )
        if kind not in self._networks:
            self._networks[kind] = Network(*kind)
        network = self._networks[kind]
        if output not in network.model.output:
            raise CommandError(
                ExitCode.FLAGS,
                f"{path} {_WITHOUT[output]}",
                fix="give segmenters as --members, classifiers as --classifiers",
            )
        network.model.load_weights(file)
        for variable in network.model.weights:
            if not np.isfinite(variable.numpy()).all():
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{file} holds values that are not finite",
                    fix="train the member again",
                )
        return Member(
            logits=network.logits(output, self._engine, str(path)),
            path=path,
            dataset=dataset,
            weights_sha256=run.result["weights"][file.name],
        )


class Network:
    """One architecture, whose graph takes the weights as an argument.

    All members of the architecture share it, since building and tracing take seconds.

    Args:
      spec: spec of the model, see trainer/models/registry.py.
      image_size: side of the square input, in pixels.
      precision: dtype policy of its layers.
      fused: whether the faster layers are used, as in the member's training.
    """

    def __init__(self, spec: str, image_size: int, precision: str, fused: bool = True):
        keras.mixed_precision.set_dtype_policy(precision)
        self.model = registry.build_from_spec(spec, image_size=image_size, fused=fused)
        self._graph = tf.function(self._call, reduce_retracing=True)

    def _call(self, images: tf.Tensor, trainable, fixed) -> dict[str, tf.Tensor]:
        logits, _ = self.model.stateless_call(trainable, fixed, images, training=False)
        return {key: logits[key] for key in (MASK, LABEL) if key in logits}

    def logits(
        self, output: str, engine: Engine, name: str
    ) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function that runs the network with the model's current weights."""
        if engine.name == "openvino":
            run = openvino_engine.compiled(
                self.model,
                name=name,
                num_threads=cores.available(),
                precision=engine.precision,
            )
            return lambda images: tf.constant(run(images.numpy())[output])
        trainable, fixed = (
            [tf.identity(v.value) for v in variables]
            for variables in (
                self.model.trainable_variables,
                self.model.non_trainable_variables,
            )
        )
        return lambda images: self._graph(images, trainable, fixed)[output]
