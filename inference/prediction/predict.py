"""Predicts the images of a dataset: read, predict, post-process, all at once."""

import logging
import pathlib

from data_prep.core import durable
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from data_prep.dataset import manifest as manifests
from data_prep.dataset import rle
from inference.config import PredictConfig
from inference.ensemble import mean_probability
from inference.ensemble import tta
from inference.ensemble.cascade import Cascade
from inference.ensemble.cascade import Prediction
from inference.ensemble.classification import Classification
from inference.ensemble.members import LABEL
from inference.ensemble.members import MASK
from inference.ensemble.members import Loader
from inference.inputs import chunks
from inference.inputs import datasets as dataset_folders
from inference.inputs.chunks import Images
from inference.inputs.chunks import Part
from inference.masks import postprocess
from inference.masks import thresholds
from inference.masks.postprocess import Postprocess
from inference.prediction import convert_source
from inference.prediction import out_of_fold
from inference.prediction import prediction_outputs
from inference.prediction.background import Background
from inference.prediction.prediction_folder import PredictionFolder
from inference.prediction.prediction_folder import Row
from inference.prediction.probability_maps import ProbabilityMap
from trainer.machine import devices


def predict(config: PredictConfig) -> ExitCode:
    """Predicts, or goes on with or confirms an earlier call of the same configuration.

    Returns:
      DONE, or QUARANTINED where files of `config.source` could not be read.

    Raises:
      CommandError: a bad member or dataset, an output of something else, a prediction
        that is not finite, or a GPU that is required and not used.
    """
    devices.announce(
        str(config.engine),
        # One loaded ensemble works on one device.
        most_gpus=1 if config.engine.name == "tensorflow" else 0,
        require_gpu=config.require_gpu,
    )
    tta.views(config.tta)
    tta.views(config.classifier_tta, "classifier_tta")
    tuned = thresholds.read(config.thresholds) if config.thresholds else None
    spec = tuned.postprocess if tuned else config.postprocess
    clean = None
    if config.split == "test" and config.members:
        clean = postprocess.parse(spec, gated=bool(config.classifiers))
        if config.classifiers and clean.gate is None:
            logging.warning("no gate in %r: classifiers decide no mask", spec)
    with durable.locked(config.output):
        code, data = ExitCode.DONE, config.data
        if config.source:
            code, data = convert_source.convert(config)
        job = _Job(config, data, clean)
        if tuned:
            thresholds.check(tuned, config.thresholds, job.made_by())
        folder = PredictionFolder(config.output, job.request(spec))
        if folder.complete():
            logging.info("%s is already complete", config.output)
        else:
            folder.claim()
            job.run(folder)
        folder.drop_parts()
        prediction_outputs.write(config, job.datasets[-1])
    return code


class _Job:
    """Everything that one prediction needs, loaded and checked."""

    def __init__(
        self,
        config: PredictConfig,
        data: tuple[pathlib.Path, ...],
        clean: Postprocess | None,
    ):
        self._config, self._clean = config, clean
        found = dataset_folders.find(data)
        loader = Loader(config.weights, found, config.engine)
        self._loaded = {
            fold: (
                loader.load_all(team.members, MASK),
                loader.load_all(team.classifiers, LABEL),
            )
            for fold, team in out_of_fold.teams(config, found).items()
        }
        used = [m.dataset for team in self._loaded.values() for m in team[0] + team[1]]
        # Only sizes that a member knows are read, in whichever order they were given.
        self.datasets = sorted(
            (d for d in found if any(d is other for other in used)),
            key=lambda d: d.manifest.image_size,
        )
        folds = None if config.split == "test" else sorted(self._loaded)
        self._shards = dataset_folders.shards_of(self.datasets, folds)
        self._aspect = self.datasets[0].manifest.options["aspect"]

    def made_by(self) -> dict[str, list[str]]:
        """Returns what thresholds depend on, see inference/masks/thresholds.py."""
        config = self._config
        views = []
        if config.classifiers:
            views = tta.canonical(config.classifier_tta)
            views.append(f"random={config.classifier_random_views}")
        return {
            "members": self._hashes(0),
            "tta": tta.canonical(config.tta),
            "classifiers": self._hashes(1),
            "classifier_tta": views,
        }

    def _hashes(self, kind: int) -> list[str]:
        teams = self._loaded.values()
        return sorted(m.weights_sha256 for team in teams for m in team[kind])

    def request(self, spec: str) -> dict:
        """Returns everything that decides the prediction, free of paths."""
        first = self.datasets[0].manifest
        return durable.to_jsonable(
            {
                "split": self._config.split,
                **self.made_by(),
                "postprocess": postprocess.expand(spec) if self._clean else None,
                "keeps_maps": self._config.keeps_maps,
                "engine": str(self._config.engine),
                "aspect": self._aspect,
                "dataset": first.source_fingerprint,
                "options": [d.manifest.options for d in self.datasets],
            }
        )

    def run(self, folder: PredictionFolder) -> None:
        """Predicts all parts that are not there yet, then writes the csvs."""
        for dataset, chosen in zip(self.datasets, self._shards, strict=True):
            manifests.check_shards(dataset.folder, chosen)
        parts = [p for of_one in chunks.plan(self._shards[0]) for p in of_one]
        done = [folder.has(part.index) for part in parts]
        left = sum(p.num_images for p, d in zip(parts, done, strict=True) if not d)
        if any(done):
            logging.info("%d images are left", left)
        cascades = {fold: self._cascade(*team) for fold, team in self._loaded.items()}
        stream = chunks.read(self.datasets, self._shards, done)
        with (
            Tracker("predict", left, unit="images") as tracker,
            Background() as beside,
        ):
            for index, images in stream:
                part = parts[index]
                found = cascades[part.fold](images)
                beside.put(self._finish, folder, part, images, found)
                tracker.advance(part.num_images)
        folder.join([part.num_images for part in parts])

    def _cascade(self, segmenters, classifiers) -> Cascade:
        config = self._config
        return Cascade(
            segment=mean_probability.segmenters(segmenters, tta.views(config.tta))
            if segmenters
            else None,
            classify=Classification(
                classifiers,
                config.classifier_tta,
                config.classifier_random_views,
                config.batch_size,
            )
            if classifiers
            else None,
            passes=self._clean.passes if self._clean else lambda classified: True,
            batch_size=config.batch_size,
        )

    def _finish(
        self, folder: PredictionFolder, part: Part, images: Images, found: Prediction
    ) -> None:
        """Makes masks of one part, and keeps them."""
        keeps, rows, kept = self._config.keeps_maps, [], []
        for k, image_id in enumerate(images.ids):
            classified = found.classified[k] if found.classified else None
            values = found.maps[k] if found.maps else None
            height, width = images.heights[k], images.widths[k]
            encoded = None
            if self._clean:
                encoded = rle.EMPTY
                if values is not None:
                    encoded = self._clean.rle(
                        values, height, width, self._aspect, classified
                    )
            rows.append(Row(image_id=image_id, rle=encoded, classified=classified))
            if keeps and values is not None:
                kept.append(
                    ProbabilityMap(
                        image_id=image_id,
                        values=values,
                        source_height=height,
                        source_width=width,
                        fold=part.fold,
                        classifier=classified,
                    )
                )
        folder.write(part.index, rows, kept if keeps else None)
