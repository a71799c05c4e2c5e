"""Predicts every labelled image with the members that did not train on it."""

import logging
import pathlib
from collections.abc import Iterator

import numpy as np

from data_prep import durable
from data_prep import manifest as manifests
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.manifest import Manifest
from data_prep.progress import Tracker
from data_prep.shards import Shard
from inference import ensemble
from inference import members
from inference import probability_maps
from inference import tta
from inference.config import PredictConfig
from inference.probability_maps import ProbabilityMap
from trainer import input_pipeline
from trainer import run_folder
from trainer.records import Decoder

REQUEST = "request.json"


def predict(config: PredictConfig) -> pathlib.Path:
    """Writes probability maps for `inference.tune`, one part a shard.

    Each image is seen by the members whose validation fold it is in. Parts that an
    interrupted call has written are kept.

    Returns:
      The folder.

    Raises:
      Failure: a bad member or dataset, a member that was trained on another split,
        an output of something else, or a prediction that is not finite.
    """
    views = tta.views(config.tta)
    data = manifests.read(config.data)
    of_fold = _by_fold(config.members, data)
    for fold in sorted(set(range(data.num_folds)) - of_fold.keys()):
        logging.warning("no member for fold %d: its images are left out", fold)
    loaded = {
        fold: [members.load(path, config.weights, data) for path in paths]
        for fold, paths in of_fold.items()
    }
    wanted = _identity(config, data, loaded)
    shards = data.train_shards(sorted(of_fold))
    with durable.locked(config.output):
        _claim(config.output, wanted)
        manifests.check_shards(config.data, shards)
        with Tracker(
            "predict", sum(s.num_records for s in shards), unit="images"
        ) as tracker:
            models = {f: ensemble.make_predict(m, views) for f, m in loaded.items()}
            for k, shard in enumerate(shards):
                part = config.output / probability_maps.FOLDER
                part /= probability_maps.part_name(k)
                if not part.exists():
                    maps = list(_maps(config, data, shard, models[shard.fold]))
                    probability_maps.write(part, maps)
                tracker.advance(shard.num_records)
        probability_maps.seal(config.output, wanted)
    return config.output


def _by_fold(
    paths: tuple[pathlib.Path, ...], data: Manifest
) -> dict[int, list[pathlib.Path]]:
    """Returns the run folders by the fold that they did not train on."""
    of_fold: dict[int, list[pathlib.Path]] = {}
    for path in paths:
        run = run_folder.open_finished(path)
        # Folds are numbers: of another conversion they are other images.
        if run.dataset != durable.plain(run_folder.dataset_facts(data)):
            raise Failure(
                ExitCode.CONFLICT,
                f"{path} was trained on another conversion: which images it did not "
                "see cannot be told",
                mend="give the dataset folder that it was trained on",
            )
        of_fold.setdefault(run.config["fold"], []).append(path)
    return of_fold


def _maps(
    config: PredictConfig, data: Manifest, shard: Shard, model
) -> Iterator[ProbabilityMap]:
    decode = Decoder(
        image_size=data.image_size,
        pixel_encoding=data.options["pixel_encoding"],
        with_mask=False,
    )
    batches = input_pipeline.for_evaluation(
        [config.data / shard.name],
        decode,
        num_records=shard.num_records,
        batch_size=config.batch_size,
    )
    for batch in batches:
        probabilities = model(batch["image"]).numpy()
        for k in np.flatnonzero(batch["valid"].numpy()):
            image_id = batch["id"][k].numpy().decode()
            values = probabilities[k, :, :, 0]
            if not np.isfinite(values).all():
                raise Failure(
                    ExitCode.CORRUPT,
                    f"the prediction for image {image_id} is not finite",
                    mend="leave out the member that is at fault, or train it again",
                )
            yield ProbabilityMap(
                image_id=image_id,
                values=values.astype(np.float16),
                source_height=int(batch["source_height"][k]),
                source_width=int(batch["source_width"][k]),
                fold=shard.fold,
                classifier=None,
            )


def _identity(config: PredictConfig, data: Manifest, loaded) -> dict:
    """Returns everything that decides the maps, free of paths."""
    found = [m.weights_sha256 for of_one in loaded.values() for m in of_one]
    return durable.plain(
        {
            "split": config.split,
            "members": sorted(found),
            "tta": sorted(config.tta),
            "aspect": data.options["aspect"],
            "dataset": data.source_fingerprint,
            "options": data.options,
        }
    )


def _claim(output: pathlib.Path, wanted: dict) -> None:
    mend = "choose another --output, or delete this one"
    path = output / REQUEST
    if path.exists():
        stored = durable.read_json(path, mend=mend)
        durable.refuse_other_config(output, stored, wanted, mend=mend)
    durable.write_json(path, wanted)
