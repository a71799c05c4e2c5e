"""The ensemble that an artefact holds: its members, views, and post-processing."""

import dataclasses
import logging
import pathlib
from typing import Any

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset.manifest import Manifest
from inference.config import Engine
from inference.config import ExportConfig
from inference.config import PredictConfig
from inference.ensemble import tta
from inference.ensemble.members import LoadedGroup
from inference.ensemble.members import Loader
from inference.inputs import datasets as dataset_folders
from inference.inputs.datasets import Dataset
from inference.masks import postprocess
from inference.masks.postprocess import Postprocess
from inference.prediction import provenance
from inference.prediction import thresholds
from trainer.run import run_folder
from trainer.run.run_folder import FinishedRun


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedEnsemble:
    """An ensemble with all that decides its predictions.

    Attributes:
      runs: the members' runs, by their path.
      group: the members.
      kinds: for each kind of square that a member reads, a dataset without shards; the
        squares of members with equal preprocessing are made once.
      tta: names of the segmenters' views, the original first.
      classifier_tta: names of the classifiers' views, the original first; empty
        without classifiers.
      postprocess: spec of the masks.
      steps: the same, parsed.
      temperature: by which the probability of an image is calibrated, or None.
      made_from: provenance of the members and views, see inference/prediction/
        provenance.py.
      tuning: what the file of thresholds says, or None.
      guard_quantile: see ExportConfig.
    """

    runs: dict[pathlib.Path, FinishedRun]
    group: LoadedGroup
    kinds: list[Dataset]
    tta: list[str]
    classifier_tta: list[str]
    postprocess: str
    steps: Postprocess
    temperature: float | None
    made_from: dict[str, list[str]]
    tuning: dict[str, Any] | None
    guard_quantile: float

    @property
    def aspect(self) -> str:
        """How the members' squares are made, see data_prep/dataset/aspect.py."""
        return self.kinds[0].manifest.options["aspect"]

    @property
    def map_size(self) -> int:
        """Side of the mean map, which is the smallest of the segmenters' sizes."""
        return min(m.dataset.manifest.image_size for m in self.group.segmenters)

    def input_names(self, name: str = "images") -> dict[str, str]:
        """Returns {key of a kind of square: name of the input that takes it}.

        There is one name alone where all members read the same squares, and otherwise
        the size follows it, and a number where kinds share a size.
        """
        if len(self.kinds) == 1:
            return {key(self.kinds[0]): name}
        names: dict[str, str] = {}
        for kind in self.kinds:
            wanted = unique = f"{name}_{kind.manifest.image_size}"
            count = 1
            while unique in names.values():
                count += 1
                unique = f"{wanted}_{count}"
            names[key(kind)] = unique
        return names


def key(kind: Dataset) -> str:
    """Returns the key of a kind's squares, as inference/ensemble/ knows them."""
    return str(kind.folder)


def load(config: ExportConfig) -> PackedEnsemble:
    """Loads the members and the post-processing.

    Raises:
      CommandError: a member is bad, members make their squares in ways that do not go
        together, or the thresholds were tuned with others.
      ConfigError: the post-processing is bad.
    """
    tta.views(config.tta)
    tta.views(config.classifier_tta, "classifier_tta")
    tuned = thresholds.read(config.thresholds) if config.thresholds else None
    if tuned and not tuned.beats_all_empty:
        logging.warning(
            "%s says that its rule does not beat empty masks", config.thresholds
        )
    spec = postprocess.expand(tuned.postprocess if tuned else config.postprocess)
    steps = postprocess.parse(spec, gated=bool(config.classifiers))
    runs = {
        path: run_folder.open_finished(path)
        for path in config.members + config.classifiers
    }
    kinds = _kinds(list(runs.values()))
    made_from = _made_from(config, runs)
    if tuned:
        thresholds.check_members(tuned, config.thresholds, made_from)
    compares = config.guard_quantile > 0
    loader = Loader(config.weights, kinds, Engine(), compares=compares)
    return PackedEnsemble(
        runs=runs,
        group=loader.load_group(config.members, config.classifiers),
        kinds=kinds,
        tta=tta.canonical(config.tta),
        classifier_tta=(
            tta.canonical(config.classifier_tta) if config.classifiers else []
        ),
        postprocess=spec,
        steps=steps,
        temperature=tuned.temperature if tuned else None,
        made_from=made_from,
        tuning=_tuning(config.thresholds) if config.thresholds else None,
        guard_quantile=config.guard_quantile,
    )


def _tuning(path: pathlib.Path) -> dict[str, Any]:
    stored = durable.read_json(path, fix="give what inference.tune wrote")
    return {k: stored.get(k) for k in ("score", "nested_score", "images")}


def _made_from(
    config: ExportConfig, runs: dict[pathlib.Path, FinishedRun]
) -> dict[str, list[str]]:
    # Random views of the classifiers are seeded by an image's id, which a served
    # model does not know. Thresholds that were tuned with such are refused by this.
    as_prediction = PredictConfig(
        data=(pathlib.Path(),),
        source=None,
        members=config.members,
        classifiers=config.classifiers,
        output=config.output,
        tta=config.tta,
        classifier_tta=config.classifier_tta,
        classifier_random_views=0,
        num_workers=1,
        require_gpu=False,
    )
    return provenance.of_members(
        as_prediction,
        *(
            [runs[path].recorded_sha256(config.weights) for path in paths]
            for paths in (config.members, config.classifiers)
        ),
    )


def _kinds(runs: list[FinishedRun]) -> list[Dataset]:
    """Returns a dataset without shards for each kind of square, the smallest first."""
    kinds: list[dict[str, Any]] = []
    for run in runs:
        options = manifests.pixel_options(run.dataset["options"])
        first = kinds[0] if kinds else options
        differing = [k for k in ("aspect", "voi") if options[k] != first[k]]
        if differing:
            raise CommandError(
                ExitCode.CONFLICT,
                f"{run.path} and {runs[0].path} were trained on other "
                f"{', '.join(differing)}",
                fix="export each of them, and average what they predict",
            )
        if options not in kinds:
            kinds.append(options)
    kinds.sort(key=lambda k: (k["image_size"], str(k)))
    dataset_folders.warn_of_other_versions(runs)
    return [_without_shards(options, runs[0]) for options in kinds]


def _without_shards(options: dict[str, Any], run: FinishedRun) -> Dataset:
    name = "-".join(str(v) for v in options.values())
    return Dataset(
        folder=pathlib.Path(name),
        manifest=Manifest(
            image_size=options["image_size"],
            num_folds=run.dataset["num_folds"],
            options=options,
            mean=0.0,
            std=0.0,
            source_fingerprint=run.dataset["source_fingerprint"],
            shards=(),
        ),
    )
