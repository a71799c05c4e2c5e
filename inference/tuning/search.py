"""Tunes the post-processing on predictions of labelled images, and reports it."""

import dataclasses
import logging
import pathlib
import shlex
from typing import Any

import numpy as np

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core import progress
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import aspect as aspects
from data_prep.labels import rle_csv
from inference.config import TuneConfig
from inference.prediction import probability_maps
from inference.prediction import thresholds
from inference.prediction.thresholds import Thresholds
from inference.tuning import calibrating
from inference.tuning import counting
from inference.tuning import image_probabilities
from inference.tuning import plot
from trainer.validation import grid_search
from trainer.validation import metrics
from trainer.validation import rules
from trainer.validation.pixel_counts import PixelCounts
from trainer.validation.rules import Grid
from trainer.validation.rules import Rule

THRESHOLDS = "thresholds.json"
TUNING = "tuning.json"
SURFACE = "surface.png"
RELIABILITY = "reliability.png"
# Distances from the best score, for the share of rules within them.
_FLATNESS = (0.001, 0.005)


def tune(config: TuneConfig) -> str:
    """Writes pixel counts, thresholds with a temperature, all scores and two plots.

    Returns:
      A summary to print, with the next command.

    Raises:
      CommandError: the prediction is missing or damaged, an image lacks a truth, or the
        output was made from another prediction.
    """
    num_workers = config.num_workers
    processes = "1 process" if num_workers == 1 else f"{num_workers} processes"
    logging.info("runs on CPU, %s: no part of it uses a GPU", processes)
    with folder_lock.locked(config.output):
        durable.drop_incomplete(config.output)
        truth = rle_csv.read(config.truth)
        provenance, counts = _pixel_counts(config, truth)
        gates = config.gates if counts.classified else ()
        grid = Grid(
            gates=(rules.NO_GATE, *gates),
            tops=config.tops,
            min_areas=config.min_areas,
            bottoms=config.bottoms,
        )
        result, scores = _search(counts, grid)
        result["made_from"] = provenance
        fitted = calibrating.calibrate(
            image_probabilities.gather(counts, config.predictions, truth)
        )
        result["calibration"] = fitted
        best = result["best"]
        thresholds.write(
            config.output / THRESHOLDS,
            Thresholds(
                postprocess=best["postprocess"],
                provenance=provenance,
                beats_all_empty=result["beats_all_empty"],
                temperature=fitted["temperature"],
                temperature_of=fitted["of"] if fitted["temperature"] else None,
            ),
            score=best["dice"],
            nested_score=result["nested"] and result["nested"]["dice"],
            images=result["images"],
            calibration=fitted,
        )
        durable.write_json(config.output / TUNING, result)
        plot.draw(config.output / SURFACE, grid, scores, grid_search.best(scores))
        calibrating.draw(config.output / RELIABILITY, fitted)
    return _summary(result, config.output)


def _pixel_counts(
    config: TuneConfig, truth: dict[str, list[str]]
) -> tuple[dict[str, Any], PixelCounts]:
    """Returns the provenance of the prediction, and its counts, read or made."""
    provenance, maps = probability_maps.read_folder(config.predictions)
    aspect = provenance.get("aspect")
    if aspect not in aspects.ASPECTS:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{config.predictions} does not say how its squares were made",
            fix="predict again",
        )
    # The report compares with the seed's rule, which needs its threshold.
    wanted = {*config.tops, *config.bottoms, rules.SEED.top}
    sources = {
        "prediction_sha256": durable.sha256(
            config.predictions / probability_maps.MARKER
        ),
        "truth_sha256": rle_csv.digest(config.truth),
    }
    counts = counting.read(config.output, sources, wanted)
    if counts is None:
        total = probability_maps.count(config.predictions)
        counts = counting.count(
            progress.tracked(maps, "count", total, unit="images"),
            truth,
            aspect=aspect,
            thresholds=wanted,
            num_workers=config.num_workers,
        )
        counting.write(config.output, counts, sources)
    return provenance, counts


def _search(counts: PixelCounts, grid: Grid) -> tuple[dict[str, Any], np.ndarray]:
    """Returns the contents of tuning.json, and [gates, tops, areas, bottoms] scores."""
    folds, sums = grid_search.sums(counts, grid)
    images = len(counts.ids)
    scores = sums.sum(axis=0) / images
    index = grid_search.best(scores)
    valid = scores[np.isfinite(scores)]
    positive = counts.truth_area > 0
    all_empty = float((~positive).mean())
    nested = grid_search.nested(counts, folds, sums, grid)
    # The nested score is what to expect of films that the rule was not tuned on. It is
    # of other rules, one for each fold.
    judged = [float(scores[index])] + ([nested["dice"]] if nested else [])
    return {
        "images": images,
        "positive_images": int(positive.sum()),
        "grid": dataclasses.asdict(grid),
        "best": _scored(counts, grid.rule(index)),
        "beats_all_empty": all(grid_search.beats(d, all_empty) for d in judged),
        "compared": {
            "seed": _scored(counts, rules.SEED),
            "threshold": _scored(counts, rules.PLAIN),
            "all_empty": {"dice": all_empty},
        },
        "nested": nested,
        "flatness": {
            "points": valid.size,
            **{
                f"within_{step}": float((valid >= valid.max() - step).mean())
                for step in _FLATNESS
            },
        },
        "curves": grid_search.curves(scores, grid, index),
        "at_the_edge": grid_search.edges(scores, index),
    }, scores


def _scored(counts: PixelCounts, rule: Rule) -> dict[str, Any]:
    summary = metrics.summarize(grid_search.dice(counts, rule), counts.truth_area > 0)
    return {"postprocess": rule.spec()} | dataclasses.asdict(rule) | summary


def _summary(result: dict[str, Any], output: pathlib.Path) -> str:
    best, compared, nested = result["best"], result["compared"], result["nested"]
    lines = [
        f"{result['images']} images, {result['positive_images']} with a pneumothorax",
        *(
            f"{name:<22}{_shown(row)}"
            for name, row in (
                ("best", best),
                ("seed's rule", compared["seed"]),
                ("threshold alone", compared["threshold"]),
                ("all empty", compared["all_empty"]),
            )
        ),
    ]
    if nested:
        lines.append(f"{'best, nested':<22}Dice {nested['dice']:.4f}: what to expect")
        for row in nested["folds"]:
            name = f"  fold {row['fold']} held out"
            lines.append(f"{name:<22}{_shown(row)}")
    else:
        lines.append("one fold: no nested score, the best one is optimistic")
    points = result["flatness"]
    shares = ", ".join(f"{points[f'within_{s}']:.1%} within {s}" for s in _FLATNESS)
    lines.append(f"of {points['points']} rules {shares}")
    for name in result["at_the_edge"]:
        lines.append(f"the best {name} is at the grid's edge: widen --{name}s")
    lines += calibrating.lines(result["calibration"])
    if result["beats_all_empty"]:
        path = shlex.quote(str(output / THRESHOLDS))
        lines.append(f"next: python -m inference.main ... --thresholds={path}")
    else:
        held_out = " on held-out folds" if nested else ""
        lines.append(
            f"NOT RECOMMENDED: no rule beats empty masks{held_out} "
            f"(Dice {compared['all_empty']['dice']:.4f}); train the members longer, or "
            "look at their labels"
        )
    return "\n".join(lines)


def _shown(row: dict[str, Any]) -> str:
    parts = [f"Dice {row['dice']:.4f}"]
    for name in ("empty", "positive"):
        value = row.get(f"dice_{name}")
        if value is not None:
            parts.append(f"{name} {value:.4f}")
    text = ", ".join(parts)
    return f"{text}  {row['postprocess']}" if "postprocess" in row else text
