"""Loads ensemble members from their run folders and verifies their weights."""

import dataclasses
import logging
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
from inference.ensemble.networks import LOGITS
from inference.ensemble.networks import MASK
from inference.ensemble.networks import Network
from inference.ensemble.networks import Weights
from inference.inputs import datasets as dataset_folders
from inference.inputs.datasets import Dataset
from trainer.guard import description
from trainer.guard import taps
from trainer.guard.description import Description
from trainer.run import run_folder
from trainer.run import weights_file
from trainer.run.run_folder import FinishedRun

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
      description: of the films that it was trained on, or None.
      tap: (output of its network, group of the description) that the network's own
        features go by, or None.
    """

    path: pathlib.Path
    dataset: Dataset
    weights_sha256: str
    output: str
    network: Network
    weights: Weights
    openvino: openvino_engine.Predict | None
    description: Description | None = None
    tap: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedGroup:
    """The members that predict the same images together.

    Attributes:
      segmenters: members with masks.
      classifiers: members with labels.
      reconstructing: predicts nothing, but says how well it reconstructs a film; or
        None.
    """

    segmenters: list[Member]
    classifiers: list[Member]
    reconstructing: Member | None = None

    @property
    def members(self) -> list[Member]:
        """All members."""
        last = [self.reconstructing] if self.reconstructing else []
        return self.segmenters + self.classifiers + last


class Loader:
    """Loads members; members of one architecture share its graph.

    Args:
      weights: which weights of each member to load.
      datasets: the datasets that the members may read.
      engine: runs the networks.
      precision: number format of the networks, a value of --predict_precision.
      compares: whether films are compared with those that the members learned from.
    """

    def __init__(
        self,
        weights: str,
        datasets: Sequence[Dataset],
        engine: Engine,
        precision: str = "trained",
        *,
        compares: bool = False,
    ):
        self._weights, self._datasets, self._engine = weights, datasets, engine
        self._precision, self._compares = precision, compares
        self._networks: dict[tuple, Network] = {}
        self._said: set[str] = set()

    def load_group(
        self,
        segmenters: Sequence[pathlib.Path],
        classifiers: Sequence[pathlib.Path],
        reconstructing: pathlib.Path | None = None,
    ) -> LoadedGroup:
        """Loads the run folders of segmenters and classifiers, see `load_all`.

        `reconstructing` is a run whose network has a variational branch, or None.
        """
        return LoadedGroup(
            segmenters=self.load_all(segmenters, MASK),
            classifiers=self.load_all(classifiers, LABEL),
            reconstructing=(
                self._load(reconstructing, taps.RECONSTRUCTION)
                if reconstructing
                else None
            ),
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
        described = self._described(run)
        is_reconstruction = output == taps.RECONSTRUCTION
        tap = None if described is None else self._tap(path, described, output)
        outputs = (output,) if is_reconstruction else LOGITS
        if tap and not is_reconstruction:
            outputs += tap[:1]
        kind = (
            config["model"],
            dataset.manifest.image_size,
            _POLICIES.get(self._precision, config["precision"]),
            config["fused"],
            outputs,
        )
        if kind not in self._networks:
            self._networks[kind] = Network(*kind)
        network = self._networks[kind]
        if is_reconstruction and (tap is None or output not in network.outputs):
            raise CommandError(
                ExitCode.FLAGS,
                f"{path} does not say how well it reconstructs films with its weights "
                f"{self._weights!r}",
                fix="give a run of --model=vae_cnn of this version as --guard",
            )
        if output not in network.outputs:
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
            openvino=None if is_reconstruction else self._compiled(network, path),
            description=described,
            tap=tap,
        )

    def _described(self, run: FinishedRun) -> Description | None:
        if not self._compares:
            return None
        file = run.verified_guard()
        if file is None:
            self._say(f"no description in {run.path}, films are not compared with its")
            return None
        found = description.read(file)
        if found.image_size != run.dataset["image_size"]:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{file} describes films of {found.image_size} pixels, the run has "
                f"{run.dataset['image_size']}",
                fix="restore the run folder from a copy or train it again",
            )
        return found

    def _tap(
        self, path: pathlib.Path, described: Description, output: str
    ) -> tuple[str, str] | None:
        """Returns which output of the network a group of the description is of."""
        if output == taps.RECONSTRUCTION:
            tap, kind = taps.RECONSTRUCTION, description.RECONSTRUCTION
        elif self._engine.name != "tensorflow":
            self._say(
                f"{self._engine} gives no features of the networks, films are compared "
                "by grey, edges, spectrum and layout alone"
            )
            return None
        else:
            tap, kind = taps.POOLED, description.ENCODER
        group = f"{kind}:{self._weights}"
        if group in described.distances:
            return tap, group
        if any(name.startswith(f"{kind}:") for name in described.distances):
            self._say(f"{path} describes no features of its weights {self._weights}")
        return None

    def _say(self, what: str) -> None:
        """Logs something on the guard once."""
        if what not in self._said:
            self._said.add(what)
            logging.info("guard: %s", what)

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
