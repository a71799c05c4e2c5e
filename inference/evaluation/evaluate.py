"""Evaluates a submission: writes its scores, a table, a picture sheet, a report."""

import csv
import io
import logging
from typing import Any

import numpy as np

from data_prep.core import durable
from data_prep.core.tiles import write_png
from inference.config import EvaluateConfig
from inference.evaluation import bootstrap
from inference.evaluation import measures
from inference.evaluation import subgroups
from inference.evaluation.scoring import Scoring
from inference.inputs import csv_ids
from inference.inputs import dataset_index
from inference.inputs.dataset_index import DatasetIndex
from inference.prediction import probability_csv
from inference.prediction import thresholds
from inference.prediction.thresholds import Thresholds
from inference.report import evaluation_page
from inference.report import gallery
from inference.report import pictures
from inference.report.cases import Scores
from inference.report.gallery import Tile

EVALUATION = "evaluation.json"
SCORES = "scores.csv"
SHEET = "sheet.png"
REPORT = "report.html"


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Writes scores, table and report and, with a dataset, the picture sheet.

    Returns:
      The contents of `evaluation.json`.

    Raises:
      CommandError: the csvs have different images, or the dataset lacks some.
    """
    scoring = Scoring(
        config.submission,
        config.truth,
        ids=csv_ids.read(config.ids) if config.ids else None,
        merge_rows=config.rows == "merge",
    )
    probabilities = _probabilities(config, scoring.ids)
    tuned = thresholds.read(config.thresholds) if config.thresholds else None
    if tuned and tuned.temperature is None:
        logging.warning("%s has no temperature", config.thresholds)
    values_by_column = _subgroups(config, scoring.ids)
    images = None
    size_of = dataset_index.constant_size(config.mask_size)
    if config.data:
        fix = "give the dataset that was predicted, or choose with --ids"
        images = DatasetIndex(config.data, scoring.ids, fix=fix)
        size_of = images.size_of
    scores = scoring.scores(size_of)
    units = [images.patient_of(i) if images else i for i in scores.ids]
    resampling = bootstrap.Resampling(
        np.array(units), num_samples=config.bootstrap_samples, seed=config.seed
    )
    result = measures.evaluate(
        scores,
        probabilities,
        values_by_column,
        resampling,
        tuned and tuned.temperature,
    ) | {
        "calibration_note": _calibration_note(tuned),
        "resampling": {
            "unit": "patients" if images else "images",
            "units": resampling.num_units,
            "samples": config.bootstrap_samples,
            "seed": config.seed,
            "level": bootstrap.LEVEL,
        },
        "sources": {
            "submission_sha256": durable.sha256(config.submission),
            "truth_sha256": durable.sha256(config.truth),
            "rows": config.rows,
        },
    }
    chosen = gallery.choose(scores, config.num_pictures)
    result["cases"] = {
        kind: [_case(scores, probabilities, k) for k in indices]
        for kind, indices in chosen.items()
    }
    durable.write_json(config.output / EVALUATION, result)
    durable.write_text(config.output / SCORES, _table(scores, probabilities))
    tiles = None
    if images:
        tiles = _tiles(scoring, images, result["cases"])
        _write_sheet(config, scoring, scores, images)
    durable.write_text(config.output / REPORT, evaluation_page.page(result, tiles))
    return result


def summary(result: dict[str, Any]) -> dict[str, float | int | None]:
    """Returns the values that the terminal shows."""
    auc = result["probabilities"] and result["probabilities"]["auc"]["value"]
    return {
        "images": result["images"],
        "positive_images": result["positive_images"],
        **{name: e["value"] for name, e in result["scores"].items()},
        **({} if auc is None else {"auc": auc}),
        **result["confusion"],
        "dice_of_all_empty": result["dice_of_all_empty"],
    }


def _probabilities(config, ids) -> np.ndarray | None:
    if not config.probabilities:
        return None
    probabilities = probability_csv.read(config.probabilities)
    if not config.ids:
        csv_ids.check_contains(config.truth, ids, probabilities)
    csv_ids.check_contains(config.probabilities, probabilities, ids)
    return np.array([probabilities[i] for i in ids])


def _calibration_note(tuned: Thresholds | None) -> str | None:
    if tuned is None:
        return None
    if tuned.temperature is None:
        return "No temperature could be fitted when the thresholds were tuned."
    of = {"classifier": "the classifiers", "map": "the likeliest pixel"}
    return (
        f"Tuning fitted the temperature {tuned.temperature:.3f} to the probabilities "
        f"of {of[tuned.temperature_of]}."
    )


def _subgroups(config, ids) -> dict[str, np.ndarray]:
    if not config.subgroups:
        return {}
    columns = subgroups.read(config.subgroups)
    for values in columns.values():
        csv_ids.check_contains(config.subgroups, values, ids)
    return {name: np.array([v[i] for i in ids]) for name, v in columns.items()}


def _case(scores: Scores, probabilities, k: int) -> dict[str, Any]:
    return {
        "image_id": scores.ids[k],
        "dice": float(scores.dice[k]),
        "truth_area": float(scores.truth_area[k]),
        "predicted_area": float(scores.predicted_area[k]),
        "probability": None if probabilities is None else float(probabilities[k]),
    }


def _tiles(scoring, images, cases) -> dict[str, list[Tile]]:
    pixels = images.pixels({c["image_id"] for kind in cases.values() for c in kind})
    return {
        kind: [_tile(scoring, images, case, pixels[case["image_id"]]) for case in rows]
        for kind, rows in cases.items()
    }


def _tile(scoring, images, case, pixels) -> Tile:
    masks = scoring.case(case["image_id"], images.size_of)
    truth, predicted = case["truth_area"], case["predicted_area"]
    parts = [f"Dice {case['dice']:.2f}", f"truth {truth:,.0f} px"]
    parts.append(f"predicted {predicted:,.0f} px")
    if case["probability"] is not None:
        parts.append(f"probability {case['probability']:.2f}")
    caption = ", ".join(parts)
    return Tile(
        image=pixels,
        truth=images.to_square(masks.truth),
        prediction=images.to_square(masks.prediction),
        alt=f"Chest X-ray {case['image_id']}: {caption}",
        caption=caption,
        image_id=case["image_id"],
    )


def _write_sheet(config, scoring, scores: Scores, images: DatasetIndex) -> None:
    columns = zip(scores.ids, scores.dice, scores.positive, strict=True)
    by_id = {i: (float(d), bool(p)) for i, d, p in columns}
    chosen = pictures.choose(by_id, config.num_pictures)
    pixels = images.pixels(chosen)
    cases = [(scoring.case(i, images.size_of), pixels[i]) for i in chosen]
    drawn = pictures.sheet(cases, images.to_square)
    write_png(config.output / SHEET, drawn)


def _table(scores: Scores, probabilities: np.ndarray | None) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["ImageId", "positive", "found", "dice", "truth_area", "predicted_area"]
    writer.writerow(header + ["probability"] * (probabilities is not None))
    for k, image_id in enumerate(scores.ids):
        row = [
            image_id,
            int(scores.positive[k]),
            int(scores.predicted_positive[k]),
            f"{scores.dice[k]:.6f}",
            f"{scores.truth_area[k]:.1f}",
            f"{scores.predicted_area[k]:.1f}",
        ]
        if probabilities is not None:
            row.append(f"{probabilities[k]:.6f}")
        writer.writerow(row)
    return text.getvalue()
