"""The evaluation as one self-contained HTML page, for a screen and for a phone."""

import html
from typing import Any

import numpy as np

from data_prep import charts
from data_prep import web_page
from data_prep.charts import Curve
from data_prep.charts import Whisker
from inference import gallery
from inference.gallery import Tile

TITLE = "Pneumothorax: evaluation of a submission"
_STYLE = """
h1 { line-height: 1.2; } h2 { margin: 2.5rem 0 .5rem; }
p { max-width: 46rem; } .faint { color: var(--faint); }
.tiles { display: grid; gap: .6rem; padding: 0;
  grid-template-columns: repeat(4, 1fr); }
.tiles li { list-style: none; background: var(--panel); border-radius: .5rem;
  padding: .6rem .9rem; }
.tiles b { display: block; font-size: 1.7rem; line-height: 1.3; }
.tiles span { font-size: .9rem; } .tiles small { color: var(--faint); }
.charts { display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.charts.two { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.two svg { width: 100%; max-width: 28rem; }
.charts h3 { margin: .5rem 0 0; } .charts figure { margin: .3rem 0; }
.confusion td { font-size: 1.2rem; }
.confusion td:first-child, .confusion th { font-size: 1rem; }
td:first-child { white-space: nowrap; }
@media (max-width: 40rem) {
  th, td { padding: .2rem .5rem; } .tiles { grid-template-columns: 1fr 1fr; }
}
"""
_TILES = {
    "dice": ("Competition Dice", "mean over images; 1 where both are empty"),
    "dice_positive": ("Dice, pneumothorax", "mean over positive images"),
    "dice_empty": ("Dice, no pneumothorax", "share left empty: specificity"),
    "dice_found": ("Dice where found", "positive images with a mask"),
    "recall": ("Recall", "positive images with a mask"),
    "precision": ("Precision", "images with a mask that are positive"),
    "f1": ("F1", "of images"),
}
_KINDS = {
    "missed": ("Missed", "Pneumothorax without a predicted mask; largest first."),
    "false_alarms": (
        "False alarms",
        "A predicted mask where there is no pneumothorax; largest first.",
    ),
    "worst": ("Worst", "Found, with the lowest Dice."),
    "best": ("Best", "Found, with the highest Dice."),
}


def page(found: dict[str, Any], tiles: dict[str, list[Tile]] | None) -> str:
    """Returns the page.

    Args:
      found: as `evaluation.evaluate` writes it to JSON.
      tiles: {kind of case: its tiles}, or None without a dataset.
    """
    body = [
        f"<h1>{TITLE}</h1>",
        _lead(found),
        _numbers(found),
        "<h2>Images</h2>",
        _confusion(found["confusion"]),
        "<h2>By size of the lesion</h2>",
        _sizes(found),
    ]
    if found["probabilities"]:
        body += ["<h2>Probabilities</h2>", _probabilities(found["probabilities"])]
    for column, rows in found["subgroups"].items():
        body += [f"<h2>By {html.escape(column)}</h2>", _subgroup(column, rows)]
    body += ["<h2>Cases</h2>", _cases(found["cases"], tiles), _notes(found)]
    style = charts.STYLE + gallery.STYLE + _STYLE
    return web_page.document(TITLE, "".join(body), style=style)


def _lead(found) -> str:
    resampled = found["resampling"]
    return (
        f"<p>{found['images']:,} images, {found['positive_images']:,} with a "
        "pneumothorax. In brackets: "
        f"{resampled['level']:.0%} bootstrap intervals over {resampled['units']:,} "
        f"{resampled['unit']}.</p>"
    )


def _numbers(found) -> str:
    shown = [(*_TILES[name], found["scores"][name]) for name in _TILES]
    if found["probabilities"]:
        auc = found["probabilities"]["auc"]
        shown.insert(1, ("AUC", "of the probabilities", auc))
    items = "".join(
        f"<li><span>{title}</span><b>{_value(e)}</b>"
        f"<small>{_interval(e)}<br>{note}</small></li>"
        for title, note, e in shown
    )
    empty = found["dice_of_all_empty"]
    return (
        f'<ul class="tiles">{items}</ul><p class="faint">A submission of empty masks '
        f"only would score {empty:.4f} here.</p>"
    )


def _confusion(counts) -> str:
    rows = [
        (
            "Pneumothorax",
            f"{counts['true_positive']:,}",
            f"{counts['false_negative']:,}",
        ),
        (
            "No pneumothorax",
            f"{counts['false_positive']:,}",
            f"{counts['true_negative']:,}",
        ),
    ]
    header = ("Truth", "Mask predicted", "Left empty")
    return f'<div class="confusion">{web_page.table(header, rows)}</div>'


def _sizes(found) -> str:
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


def _probabilities(found) -> str:
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


def _subgroup(column: str, rows) -> str:
    names = ("dice", "dice_positive", "recall", "specificity", "precision")
    header = (column, "Images", "Positive", *(n.replace("_", ", ") for n in names))
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


def _cases(cases, tiles) -> str:
    parts = [
        gallery.SWITCHES
        if tiles is not None
        else "<p>Without a dataset (--data) there are no pictures.</p>"
    ]
    for kind, (title, text) in _KINDS.items():
        parts.append(f"<h3>{title}</h3><p>{text}</p>")
        if not cases[kind]:
            parts.append('<p class="faint">None.</p>')
        elif tiles is None:
            parts.append(_case_table(cases[kind]))
        else:
            drawn = "".join(gallery.figure(tile) for tile in tiles[kind])
            parts.append(f'<div class="cases">{drawn}</div>')
    return "".join(parts)


def _case_table(cases) -> str:
    rows = [
        (
            case["image_id"],
            f"{case['dice']:.3f}",
            f"{case['truth_area']:,.0f}",
            f"{case['predicted_area']:,.0f}",
        )
        for case in cases
    ]
    return web_page.table(("Image", "Dice", "True area", "Predicted area"), rows)


def _notes(found) -> str:
    resampled = found["resampling"]
    sources = found["sources"]
    return (
        "<h2>How this was computed</h2>"
        "<p>Masks are compared at the size of the source image; several true rows of "
        "an image count as their union. An image counts as found if its predicted "
        f"mask is not empty. {resampled['samples']:,} bootstrap samples of "
        f"{resampled['unit']}, seed {resampled['seed']}. Where all images of a kind "
        "agree, their interval has no width however few they are.</p>"
        f'<p class="faint">sha256 of the submission {sources["submission_sha256"]}, '
        f"of the truth {sources['truth_sha256']}.</p>"
        '<p class="faint">Not a medical device: for research only.</p>'
    )


def _panels(panels: list[tuple[str, str]], kind: str = "charts") -> str:
    drawn = "".join(f"<div><h3>{title}</h3>{chart}</div>" for title, chart in panels)
    return f'<div class="{kind}">{drawn}</div>'


def _value(estimate) -> str:
    return "–" if estimate["value"] is None else f"{estimate['value']:.3f}"


def _interval(estimate) -> str:
    if estimate["low"] is None:
        return ""
    # It may move below its value, but not break.
    return f"[{estimate['low']:.3f},\N{NO-BREAK SPACE}{estimate['high']:.3f}]"


def _with_interval(estimate) -> str:
    return f"{_value(estimate)} {_interval(estimate)}".strip()
