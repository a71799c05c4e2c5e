"""Loads ensemble members from their run folders and verifies their weights."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_prep.core import cores
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import Engine
from inference.ensemble import openvino_engine
from inference.ensemble.networks import HOST
from inference.ensemble.networks import LABEL
from inference.ensemble.networks import MASK
from inference.ensemble.networks import Network
from inference.ensemble.networks import Weights
from inference.inputs import datasets as dataset_folders
from inference.inputs.datasets import Dataset
from trainer.run import run_folder
from trainer.run import weights_file

# Dtype policies by the value of --predict_precision; "trained" is each member's own.
_POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
_WITHOUT = {
    MASK: "is a classifier, which outlines nothing",
    LABEL: "is a segmenter, which does not classify",
}


# Maps [B, S, S, 1] float32 in 0..255 to float32 logits, [B, S, S, 1] or [B, 1].
Logits = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One trained network, in the host's memory.

    Attributes:
      path: its run folder.
      dataset: the dataset with images of its size and preprocessing.
      weights_sha256: sha256 of the loaded weights.
      output: MASK or LABEL.
      network: its architecture.
      weights: its weights.
      openvino: runs the network in the place of TensorFlow, or None.
    """

    path: pathlib.Path
    dataset: Dataset
    weights_sha256: str
    output: str
    network: Network
    weights: Weights
    openvino: openvino_engine.Predict | None


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
      precision: number format of the networks, a value of --predict_precision.
    """

    def __init__(
        self,
        weights: str,
        datasets: Sequence[Dataset],
        engine: Engine,
        precision: str = "trained",
    ):
        self._weights, self._datasets, self._engine = weights, datasets, engine
        self._precision = precision
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
            _POLICIES.get(self._precision, config["precision"]),
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
        with tf.device(HOST):
            weights_file.load(network.model, file, fix="train the member again")
        for variable in network.model.weights:
            if not np.isfinite(variable.numpy()).all():
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{path}, {self._weights}, holds values that are not finite",
                    fix="train the member again",
                )
        return Member(
            path=path,
            dataset=dataset,
            weights_sha256=run.result["weights"][f"{self._weights}.weights.h5"],
            output=output,
            network=network,
            weights=network.weights(),
            openvino=self._compiled(network, path),
        )

    def _compiled(
        self, network: Network, path: pathlib.Path
    ) -> openvino_engine.Predict | None:
        if self._engine.name != "openvino":
            return None
        return openvino_engine.compiled(
            network.model,
            name=str(path),
            num_threads=cores.available(),
            precision=self._engine.precision,
        )
