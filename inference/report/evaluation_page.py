"""The evaluation as one self-contained HTML page, for a screen and for a phone."""

import html
from typing import Any

from data_prep.core import charts
from data_prep.core import web_page
from inference.report import evaluation_charts
from inference.report import gallery
from inference.report.gallery import Tile

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
.confusion td { font-size: 1.2rem; }
.confusion td:first-child, .confusion th { font-size: 1rem; }
td:first-child { white-space: nowrap; }
@media (max-width: 40rem) {
  table { font-size: .82rem; } th, td { padding: .2rem .3rem; }
  td:first-child { white-space: normal; }
  .tiles { grid-template-columns: 1fr 1fr; }
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
        evaluation_charts.sizes(found),
    ]
    if found["probabilities"]:
        body += [
            "<h2>Probabilities</h2>",
            evaluation_charts.probabilities(found["probabilities"]),
        ]
    for column, rows in found["subgroups"].items():
        body += [
            f"<h2>By {html.escape(column)}</h2>",
            evaluation_charts.subgroup(column, rows),
        ]
    body += ["<h2>Cases</h2>", _cases(found["cases"], tiles), _notes(found)]
    style = charts.STYLE + evaluation_charts.STYLE + gallery.STYLE + _STYLE
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
        f"<li><span>{title}</span><b>{evaluation_charts.value(e)}</b>"
        f"<small>{evaluation_charts.interval(e)}<br>{note}</small></li>"
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
