"""Tunes the post-processing on predictions of labelled images, and reports it."""

import dataclasses
import logging
import pathlib
import shlex
from typing import Any

import numpy as np

from data_prep.core import durable
from data_prep.core import progress
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import aspect
from data_prep.source import labels
from inference.config import TuneConfig
from inference.masks import thresholds
from inference.masks.thresholds import Thresholds
from inference.prediction import probability_maps
from inference.tuning import grid_search
from inference.tuning import pixel_counts
from inference.tuning import plot
from inference.tuning.grid_search import Grid
from inference.tuning.grid_search import Rule
from inference.tuning.pixel_counts import Tables
from trainer.validation import metrics

THRESHOLDS = "thresholds.json"
TUNING = "tuning.json"
SURFACE = "surface.png"
_FLAT = (0.001, 0.005)


def tune(config: TuneConfig) -> str:
    """Writes tables, thresholds, all numbers and a picture.

    Returns:
      A summary for people, with the next command.

    Raises:
      CommandError: no prediction or a damaged one, an image without truth, or an output
        that was made from another prediction.
    """
    count = config.num_workers
    processes = "1 process" if count == 1 else f"{count} processes"
    logging.info("runs on CPU, %s: no part of it uses a GPU", processes)
    with durable.locked(config.output):
        made_from, tables = _tables(config)
        gates = config.gates if tables.classified else ()
        grid = Grid(
            gates=(grid_search.NO_GATE, *gates),
            tops=config.tops,
            min_areas=config.min_areas,
            bottoms=config.bottoms,
        )
        found, scores = _search(tables, grid)
        found["made_from"] = made_from
        best = found["best"]
        thresholds.write(
            config.output / THRESHOLDS,
            Thresholds(postprocess=best["postprocess"], made_from=made_from),
            score=best["dice"],
            nested_score=found["nested"] and found["nested"]["dice"],
            images=found["images"],
        )
        durable.write_json(config.output / TUNING, found)
        plot.draw(config.output / SURFACE, grid, scores, grid_search.best(scores))
    return _summary(found, config.output)


def _tables(config: TuneConfig) -> tuple[dict[str, Any], Tables]:
    """Reads the tables or makes them; with what decided the prediction."""
    made_from, maps = probability_maps.read_folder(config.predictions)
    how = made_from.get("aspect")
    if how not in aspect.ASPECTS:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{config.predictions} does not say how its squares were made",
            fix="predict again",
        )
    # What the comparison of the report needs is counted in any case.
    wanted = {*config.tops, *config.bottoms, grid_search.SEED.top}
    sources = {
        "prediction_sha256": durable.sha256(
            config.predictions / probability_maps.MARKER
        ),
        "truth_sha256": labels.digest(config.truth),
    }
    tables = pixel_counts.read(config.output, sources, wanted)
    if tables is None:
        total = probability_maps.count(config.predictions)
        tables = pixel_counts.count(
            progress.tracked(maps, "count", total, unit="images"),
            labels.read(config.truth),
            how=how,
            thresholds=wanted,
            num_workers=config.num_workers,
        )
        pixel_counts.write(config.output, tables, sources)
    return made_from, tables


def _search(tables: Tables, grid: Grid) -> tuple[dict[str, Any], np.ndarray]:
    """Returns all numbers, and the surface [gates, tops, areas, bottoms]."""
    folds, sums = grid_search.sums(tables, grid)
    images = len(tables.ids)
    scores = sums.sum(axis=0) / images
    index = grid_search.best(scores)
    valid = scores[np.isfinite(scores)]
    positive = tables.truth_area > 0
    return {
        "images": images,
        "positive_images": int(positive.sum()),
        "grid": dataclasses.asdict(grid),
        "best": _scored(tables, grid.rule(index)),
        "compared": {
            "seed": _scored(tables, grid_search.SEED),
            "threshold": _scored(tables, grid_search.PLAIN),
            "all_empty": {"dice": float((~positive).mean())},
        },
        "nested": grid_search.nested(tables, folds, sums, grid),
        "flatness": {
            "points": valid.size,
            **{
                f"within_{step}": float((valid >= valid.max() - step).mean())
                for step in _FLAT
            },
        },
        "curves": grid_search.curves(scores, grid, index),
        "at_the_edge": grid_search.edges(scores, index),
    }, scores


def _scored(tables: Tables, rule: Rule) -> dict[str, Any]:
    summary = metrics.summarize(grid_search.dice(tables, rule), tables.truth_area > 0)
    return {"postprocess": rule.spec()} | dataclasses.asdict(rule) | summary


def _summary(found: dict[str, Any], output: pathlib.Path) -> str:
    best, compared, nested = found["best"], found["compared"], found["nested"]
    lines = [
        f"{found['images']} images, {found['positive_images']} with a pneumothorax",
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
    points = found["flatness"]
    shares = ", ".join(f"{points[f'within_{s}']:.1%} within {s}" for s in _FLAT)
    lines.append(f"of {points['points']} rules {shares}")
    for name in found["at_the_edge"]:
        lines.append(f"the best {name} is at the grid's edge: widen --{name}s")
    path = shlex.quote(str(output / THRESHOLDS))
    lines.append(f"next: python -m inference.main ... --thresholds={path}")
    return "\n".join(lines)


def _shown(row: dict[str, Any]) -> str:
    parts = [f"Dice {row['dice']:.4f}"]
    for name in ("empty", "positive"):
        value = row.get(f"dice_{name}")
        if value is not None:
            parts.append(f"{name} {value:.4f}")
    text = ", ".join(parts)
    return f"{text}  {row['postprocess']}" if "postprocess" in row else text
