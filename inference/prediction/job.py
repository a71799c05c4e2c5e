"""What a prediction is made of: the films, in shards and chunks, and the members.

No network is built for it, so that it is cheap for a process that only plans or joins.
"""

import dataclasses
import pathlib
from collections.abc import Iterable
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import PredictConfig
from inference.inputs import chunks
from inference.inputs import datasets as dataset_folders
from inference.inputs.chunks import Chunk
from inference.masks import postprocess
from inference.masks.postprocess import Postprocess
from inference.prediction import out_of_fold
from inference.prediction import provenance
from inference.prediction.prediction_folder import PredictionFolder
from trainer.run import run_folder


class Job:
    """One prediction; each process that has the same `config` makes the same one.

    Attributes:
      config: its configuration, with `data`, and without a file of thresholds.
      steps: the post-processing, or None if no masks are made.
      found: all datasets that members may read.
      datasets: those that a member reads, by image size.
      groups: {fold: the run folders that predict its images}.
      shards: the shards of each dataset, with the same images file by file.
      chunks: the chunks of each shard.
      of_members: their provenance, see provenance.of_members.
      of_guard: what films are compared by, see provenance.of_guard.

    Raises:
      CommandError: a run folder or dataset is bad, they do not belong together, or
        films are to be left out and nothing describes films.
    """

    def __init__(self, config: PredictConfig):
        self.config, self.steps = config, parsed(config, config.postprocess)
        self.found = dataset_folders.find(config.data)
        runs = {
            path: run_folder.open_finished(path)
            for path in config.members + config.classifiers + self._reconstructing
        }
        dataset_folders.warn_of_other_versions(list(runs.values()))
        self.groups = out_of_fold.members_by_fold(config, self.found)
        used = [
            dataset_folders.for_run(runs[path], self.found)
            for group in self.groups.values()
            for path in group.members + group.classifiers + self._reconstructing
        ]
        # The order of --data must not matter.
        self.datasets = sorted(
            (d for d in self.found if any(d is other for other in used)),
            key=lambda d: d.manifest.image_size,
        )
        folds = None if config.split == "test" else sorted(self.groups)
        self.shards = dataset_folders.shards_of(self.datasets, folds)
        self.chunks: list[list[Chunk]] = chunks.plan(self.shards[0])
        self.of_members = provenance.of_members(
            config,
            *(
                [runs[path].recorded_sha256(config.weights) for path in paths]
                for paths in self._paths()
            ),
        )
        self.of_guard = provenance.of_guard(
            config,
            [runs[path].guard_sha256 for paths in self._paths() for path in paths],
            [
                [runs[path].guard_sha256, runs[path].recorded_sha256(config.weights)]
                for path in self._reconstructing
            ],
        )
        _check_described(config, self.of_guard)

    @property
    def compares(self) -> bool:
        """Whether films are compared with those that the members learned from."""
        return self.config.split == "test" and self.config.guard_quantile > 0

    @property
    def _reconstructing(self) -> tuple[pathlib.Path, ...]:
        return (self.config.guard,) if self.config.guard else ()

    @property
    def aspect(self) -> str:
        """Aspect policy of the datasets, see data_prep/dataset/aspect.py."""
        return self.datasets[0].manifest.options["aspect"]

    @property
    def all_chunks(self) -> list[Chunk]:
        """All chunks, by their index."""
        return [chunk for of_shard in self.chunks for chunk in of_shard]

    def folder(self) -> PredictionFolder:
        """Returns the output folder, which refuses other predictions."""
        config = self.config
        expanded = postprocess.expand(config.postprocess) if self.steps else None
        return PredictionFolder(
            config.output,
            provenance.of_prediction(
                config, self.of_members, self.datasets, expanded, self.of_guard
            ),
            leaves_out=config.on_unlike == "quarantine",
        )

    def check_weights(self) -> None:
        """Raises a CommandError if the weights of a member were changed."""
        paths = {path for paths in self._paths() for path in paths}
        for path in paths.union(self._reconstructing):
            run = run_folder.open_finished(path)
            run.verified_weights(self.config.weights)
            if self.compares:
                run.verified_guard()

    def left(
        self, folder: PredictionFolder, shards: Iterable[int] | None = None
    ) -> dict[int, list[Chunk]]:
        """Returns {index of a shard: its chunks that the folder lacks}, if it has such.

        Args:
          folder: the output folder.
          shards: indices of the shards to look at, or None for all.
        """
        indices = range(len(self.chunks)) if shards is None else list(shards)
        done = folder.finished([c.index for k in indices for c in self.chunks[k]])
        left = {k: [c for c in self.chunks[k] if c.index not in done] for k in indices}
        return {k: of_shard for k, of_shard in left.items() if of_shard}

    def _paths(self) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
        """Returns the run folders of segmenters and of classifiers that predict."""
        groups = self.groups.values()
        return (
            [path for group in groups for path in group.members],
            [path for group in groups for path in group.classifiers],
        )


def _check_described(config: PredictConfig, of_guard: dict | None) -> None:
    """Raises a CommandError if films are to be left out and none can be."""
    if config.on_unlike == "quarantine" and of_guard is None:
        raise CommandError(
            ExitCode.FLAGS,
            "--on_unlike=quarantine, and no run has a description of its films",
            fix="train a member with this version, or give --on_unlike=warn",
        )


def num_images(chunks_: Iterable[Chunk]) -> int:
    """Returns the number of images of some chunks."""
    return sum(chunk.num_images for chunk in chunks_)


def settled(
    config: PredictConfig, data: Sequence[pathlib.Path], spec: str
) -> PredictConfig:
    """Returns the configuration of a job, which other machines understand, too.

    Args:
      config: the configuration that the user gave.
      data: the dataset folders, which may be converted from its `source`.
      spec: post-processing, which may be from its file of thresholds.
    """
    return dataclasses.replace(
        config,
        data=tuple(data),
        source=None,
        thresholds=None,
        postprocess=spec,
        # What is made of the source is made afterwards, on this machine.
        outputs=tuple(kind for kind in config.outputs if kind != "dicom_seg"),
    )


def parsed(config: PredictConfig, spec: str) -> Postprocess | None:
    """Returns the post-processing, or None if the prediction makes no masks.

    Raises:
      ConfigError: the spec is bad.
    """
    if config.split != "test" or not config.members:
        return None
    return postprocess.parse(spec, gated=bool(config.classifiers))
