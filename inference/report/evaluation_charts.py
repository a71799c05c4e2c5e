"""Selects what the charts of the evaluation page show, from the evaluation's JSON."""

from typing import Any

import numpy as np

from data_prep.core.charts import Curve
from data_prep.core.charts import Whisker


def sizes(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Returns the charts by the size of the lesion.

    Returns:
      {"recall", "dice": one Whisker per range of sizes; "counts": number of positive
      images in each bin of their Dice; "names": lower ends of these bins}.
    """
    rows = evaluation["by_lesion_size"]
    names = [_size_name(row) for row in rows]
    counts = np.array(evaluation["positives_by_dice"])
    return {
        "recall": whiskers(names, rows, "recall"),
        "dice": whiskers(names, rows, "dice"),
        "counts": counts,
        "names": [f"{k / len(counts):.1f}" for k in range(len(counts))],
    }


def probabilities(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Returns the curves of the images' probabilities.

    Args:
      evaluation: the JSON's part "probabilities".

    Returns:
      {"roc", "precision": Curve, "by_threshold", "calibration": list of Curve}; the
      last has a second one after a temperature.
    """
    scores = _arrays(evaluation["at_thresholds"])
    points = _arrays(evaluation["operating_points"])
    thresholds = np.array(evaluation["thresholds"])
    after = evaluation["calibrated"]
    names = {
        "recall": "recall",
        "precision": "precision",
        "f1": "F1",
        "gated_dice": "Dice if images below were emptied",
    }
    return {
        # A threshold above the highest probability finds nothing: the point (0, 0).
        "roc": Curve(
            name="recall",
            x=np.append(0, 1 - points["specificity"]),
            y=np.append(0, points["recall"]),
        ),
        "precision": Curve(name="precision", x=points["recall"], y=points["precision"]),
        "by_threshold": [
            Curve(name=name, x=thresholds, y=scores[key]) for key, name in names.items()
        ],
        "calibration": [
            _reliability("before" if after else "positive share", evaluation),
            *([_reliability("after", after)] if after else []),
        ],
    }


def _reliability(name: str, part: dict[str, Any]) -> Curve:
    bins = [b for b in part["calibration"] if b["images"]]
    return Curve(
        name=name,
        x=np.array([b["mean_probability"] for b in bins]),
        y=np.array([b["positive_share"] for b in bins]),
        dots=True,
    )


def whiskers(names: list[str], rows: list[dict[str, Any]], score: str) -> list[Whisker]:
    """Returns one score of each row, which holds its value and interval."""
    return [
        Whisker(name=name, **row[score]) for name, row in zip(names, rows, strict=True)
    ]


def _size_name(row: dict[str, Any]) -> str:
    if row["area_below"] is None:
        return f"{row['area_from']:,} and over"
    return f"{row['area_from']:,} to {row['area_below'] - 1:,}"


def _arrays(columns: dict[str, list[float | None]]) -> dict[str, np.ndarray]:
    """Returns each column as [N] float64, with NaN for None."""
    return {name: np.array(values, np.float64) for name, values in columns.items()}
