"""Streams the test records through an ensemble to a submission."""

import dataclasses
import logging
import pathlib

import numpy as np

from data_prep import durable
from data_prep import manifest as manifests
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.progress import Tracker
from inference import ensemble
from inference import members
from inference import postprocess
from inference import submission
from inference import thresholds
from inference import tta
from inference.config import PredictConfig
from trainer import input_pipeline
from trainer.records import Decoder

SUBMISSION = "submission.csv"
MARKER = "prediction.json"


def predict(config: PredictConfig) -> pathlib.Path:
    """Writes `submission.csv`, or confirms one of the same configuration.

    Returns:
      Its path.

    Raises:
      Failure: a bad member or dataset, an output of something else, a prediction
        that is not finite.
    """
    tuned = thresholds.read(config.thresholds) if config.thresholds else None
    if tuned:
        config = dataclasses.replace(config, postprocess=tuned.postprocess)
    clean = postprocess.parse(config.postprocess)
    views = tta.views(config.tta)
    data = manifests.read(config.data)
    shards = data.test_shards()
    if not shards:
        raise Failure(
            ExitCode.FLAGS,
            f"{config.data} has no test split",
            mend="convert with --test_source",
        )
    loaded = [members.load(path, config.weights, data) for path in config.members]
    if tuned:
        hashes = [m.weights_sha256 for m in loaded]
        made_by = {"members": hashes, "tta": list(config.tta)}
        thresholds.check(tuned, config.thresholds, made_by)
    path = config.output / SUBMISSION
    with durable.locked(config.output):
        wanted = _identity(config, data, loaded)
        if _complete(config.output, wanted):
            logging.info("%s is already complete", path)
            return path
        manifests.check_shards(config.data, shards)
        rows = _rows(config, data, ensemble.make_predict(loaded, views), clean)
        submission.write(path, rows)
        done = {
            "config": wanted,
            "submission_sha256": durable.sha256(path),
            "images": len(rows),
        }
        durable.write_json(config.output / MARKER, done)
    return path


def _rows(config, data, model, clean) -> dict[str, str]:
    shards = data.test_shards()
    num_records = sum(s.num_records for s in shards)
    decode = Decoder(
        image_size=data.image_size,
        pixel_encoding=data.options["pixel_encoding"],
        with_mask=False,
    )
    batches = input_pipeline.for_evaluation(
        [config.data / s.name for s in shards],
        decode,
        num_records=num_records,
        batch_size=config.batch_size,
    )
    rows: dict[str, str] = {}
    with Tracker("predict", num_records, unit="images") as tracker:
        for batch in batches:
            probabilities = model(batch["image"]).numpy()
            for k in np.flatnonzero(batch["valid"].numpy()):
                image_id = batch["id"][k].numpy().decode()
                _check(image_id, probabilities[k], rows)
                height = int(batch["source_height"][k])
                width = int(batch["source_width"][k])
                rows[image_id] = clean.rle(
                    probabilities[k, :, :, 0], height, width, data.options["aspect"]
                )
                tracker.advance()
    if len(rows) != num_records:
        raise Failure(
            ExitCode.CORRUPT,
            f"{len(rows)} images were predicted instead of {num_records}",
            mend="convert the dataset again",
        )
    return rows


def _check(image_id: str, probabilities: np.ndarray, rows: dict[str, str]) -> None:
    if image_id in rows:
        raise Failure(
            ExitCode.CORRUPT,
            f"image {image_id} is in the dataset twice",
            mend="convert the dataset again",
        )
    if not np.isfinite(probabilities).all():
        # NaN compares as below any threshold: it would read as "healthy".
        raise Failure(
            ExitCode.CORRUPT,
            f"the prediction for image {image_id} is not finite",
            mend="leave out the member that is at fault, or train it again",
        )


def _identity(config, data, loaded) -> dict:
    """Returns everything that decides the submission, free of paths."""
    return durable.plain(
        {
            "members": sorted(m.weights_sha256 for m in loaded),
            "tta": sorted(config.tta),
            "postprocess": postprocess.expand(config.postprocess),
            "dataset": data.source_fingerprint,
            "options": data.options,
        }
    )


def _complete(output: pathlib.Path, wanted: dict) -> bool:
    marker = output / MARKER
    if not marker.exists():
        return False
    mend = "choose another --output, or delete this one"
    stored = durable.read_json(marker, mend=mend)
    durable.refuse_other_config(output, stored["config"], wanted, mend=mend)
    durable.check_file(
        output / SUBMISSION, expected_sha256=stored["submission_sha256"], mend=mend
    )
    return True
