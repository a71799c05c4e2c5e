"""The parts of the report that draw: by size, by probability, by subgroup.

Each takes its part of what `evaluation.evaluate` writes to JSON and returns HTML:
charts beside each other, as many as fit, and the numbers in a table.
"""

from typing import Any

import numpy as np

from data_prep.core import charts
from data_prep.core import web_page
from data_prep.core.charts import Curve
from data_prep.core.charts import Whisker

STYLE = """
.charts { display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.charts.two { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.two svg { width: 100%; max-width: 28rem; }
.charts h3 { margin: .5rem 0 0; } .charts figure { margin: .3rem 0; }
"""


def sizes(found: dict[str, Any]) -> str:
    """Returns recall and Dice by the size of the lesion, and all Dice of positives."""
    rows = found["by_lesion_size"]
    names = [_size_name(row) for row in rows]
    panels = [
        (
            title,
            charts.whiskers(_whiskers(names, rows, key), f"{title}, by area in pixels"),
        )
        for title, key in (("Recall", "recall"), ("Dice", "dice"))
    ]
    counts = np.array(found["positives_by_dice"])
    lows = [f"{k / len(counts):.1f}" for k in range(len(counts))]
    bars = charts.bars(counts, lows, "Dice, lower end of the bin", width=360)
    panels.append(("Positive images by Dice", bars))
    table = [
        (
            name,
            f"{row['images']:,}",
            _with_interval(row["recall"]),
            _with_interval(row["dice"]),
        )
        for name, row in zip(names, rows, strict=True)
    ]
    return (
        "<p>Area of the true mask, in pixels of an image of 1024 x 1024.</p>"
        + _panels(panels)
        + web_page.table(("Area", "Images", "Recall", "Dice"), table)
    )


def _size_name(row) -> str:
    if row["area_below"] is None:
        return f"{row['area_from']:,} and over"
    return f"{row['area_from']:,} to {row['area_below'] - 1:,}"


def _whiskers(names, rows, key) -> list[Whisker]:
    return [
        Whisker(name=name, **row[key]) for name, row in zip(names, rows, strict=True)
    ]


def probabilities(found: dict[str, Any]) -> str:
    """Returns what the probabilities alone say, from their part of the evaluation."""
    curves = _arrays(found["at_thresholds"])
    points = _arrays(found["operating_points"])
    at = np.array(found["thresholds"])
    bins = [b for b in found["calibration"] if b["images"]]
    calibrated = Curve(
        name="positive share",
        x=np.array([b["mean_probability"] for b in bins]),
        y=np.array([b["positive_share"] for b in bins]),
        dots=True,
    )
    precision = Curve(name="precision", x=points["recall"], y=points["precision"])
    # Above the highest probability nothing is found.
    roc = Curve(
        name="recall",
        x=np.append(0, 1 - points["specificity"]),
        y=np.append(0, points["recall"]),
    )
    by_threshold = [
        Curve(name=title, x=at, y=curves[name])
        for name, title in (
            ("recall", "recall"),
            ("precision", "precision"),
            ("f1", "F1"),
            ("gated_dice", "Dice if images below were emptied"),
        )
    ]
    panels = [
        ("ROC", charts.curves([roc], "1 - specificity", "recall", diagonal=True)),
        ("Precision and recall", charts.curves([precision], "recall", "precision")),
        ("Thresholds", charts.curves(by_threshold, "threshold", "score")),
        (
            "Calibration",
            charts.curves(
                [calibrated], "mean probability", "positive share", diagonal=True
            ),
        ),
    ]
    return f"<p>{_probability_text(found)}</p>{_panels(panels, 'charts two')}"


def _arrays(columns: dict[str, list[float | None]]) -> dict[str, np.ndarray]:
    """Returns what JSON holds as [N] float64 each, NaN for None."""
    return {name: np.array(values, np.float64) for name, values in columns.items()}


def _probability_text(found) -> str:
    parts = [
        f"Brier score {_with_interval(found['brier'])}",
        f"expected calibration error {found['expected_calibration_error']:.3f}",
    ]
    for key, title in (("best_f1", "F1"), ("best_gated_dice", "Dice after a gate")):
        if best := found[key]:
            parts.append(
                f"{title} is highest, {best['value']:.3f}, at {best['threshold']:.2f}"
            )
    return (
        "; ".join(parts) + ". Thresholds that are chosen on these images look better "
        "here than they are."
    )


def subgroup(column: str, rows: list[dict[str, Any]]) -> str:
    """Returns the scores of each value of a column."""
    names = ("dice", "dice_positive", "recall", "specificity", "precision")
    titles = ("Dice", "Dice, positive", "Recall", "Specificity", "Precision")
    header = (column, "Images", "Positive", *titles)
    table = [
        (
            row["value"],
            f"{row['images']:,}",
            f"{row['positive_images']:,}",
            *(_with_interval(row[name]) for name in names),
        )
        for row in rows
    ]
    labels = [row["value"] for row in rows]
    whiskers = charts.whiskers(_whiskers(labels, rows, "dice"), "Dice")
    return _panels([("Dice", whiskers)]) + web_page.table(header, table)


def _panels(panels: list[tuple[str, str]], kind: str = "charts") -> str:
    drawn = "".join(f"<div><h3>{title}</h3>{chart}</div>" for title, chart in panels)
    return f'<div class="{kind}">{drawn}</div>'


def value(estimate: dict[str, float | None]) -> str:
    """Returns an estimate's value as text."""
    return "–" if estimate["value"] is None else f"{estimate['value']:.3f}"


def interval(estimate: dict[str, float | None]) -> str:
    """Returns an estimate's interval as text, "" where it has none."""
    if estimate["low"] is None:
        return ""
    # It may move below its value, but not break.
    return f"[{estimate['low']:.3f},\N{NO-BREAK SPACE}{estimate['high']:.3f}]"


def _with_interval(estimate) -> str:
    return f"{value(estimate)} {interval(estimate)}".strip()
