"""The evaluation as a self-contained HTML page, for a screen and for a phone."""

from typing import Any

from data_prep.core import web_page
from inference.report import evaluation_charts
from inference.report import gallery
from inference.report.gallery import Tile


def page(evaluation: dict[str, Any], tiles: dict[str, list[Tile]] | None) -> str:
    """Returns the page.

    Args:
      evaluation: the contents of evaluation.json.
      tiles: {kind of case: its tiles}, or None without a dataset.
    """
    probabilities = evaluation["probabilities"]
    return web_page.template("inference.report", "evaluation.html.j2").render(
        evaluation=evaluation,
        sizes=evaluation_charts.sizes(evaluation),
        probabilities=probabilities and evaluation_charts.probabilities(probabilities),
        subgroups={
            column: evaluation_charts.whiskers(
                [row["value"] for row in rows], rows, "dice"
            )
            for column, rows in evaluation["subgroups"].items()
        },
        figures=tiles and {k: list(map(gallery.figure, tiles[k])) for k in tiles},
    )
