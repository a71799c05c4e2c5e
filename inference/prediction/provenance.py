"""Provenance of a prediction: everything that decides it, free of paths.

A prediction's folder has it as `request.json` and as "config" in `prediction.json`;
`thresholds.json` has that of the prediction it was tuned on as "made_from".
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from data_prep.core import durable
from inference.config import PredictConfig
from inference.ensemble import tta
from inference.inputs.datasets import Dataset


def of_members(
    config: PredictConfig, segmenters: Iterable[str], classifiers: Iterable[str]
) -> dict[str, list[str]]:
    """Returns the members, by their weights' sha256, and the names of their views.

    Tuned thresholds hold for these; see inference/prediction/thresholds.py.

    Args:
      config: the prediction's configuration.
      segmenters: sha256 of the weights of each segmenter.
      classifiers: sha256 of the weights of each classifier.
    """
    classifier_views = []
    if config.classifiers:
        classifier_views = tta.canonical(config.classifier_tta)
        classifier_views.append(f"random={config.classifier_random_views}")
    return {
        "members": sorted(segmenters),
        "tta": tta.canonical(config.tta),
        "classifiers": sorted(classifiers),
        "classifier_tta": classifier_views,
    }


def of_guard(
    config: PredictConfig,
    described: Iterable[str | None],
    reconstructing: Sequence[Sequence[str | None]],
) -> dict | None:
    """Returns what films are compared by; None where nothing compares them.

    Args:
      config: the prediction's configuration.
      described: sha256 of each member's description, or None.
      reconstructing: sha256 of the description and of the weights of the run that is
        given for its reconstruction, if there is one.
    """
    found = sorted(digest for digest in described if digest)
    if config.split != "test" or not config.guard_quantile:
        return None
    if not found and not reconstructing:
        return None
    return {
        "quantile": config.guard_quantile,
        "on_unlike": config.on_unlike,
        "described": found,
        "reconstructing": [list(digests) for digests in reconstructing],
    }


def of_prediction(
    config: PredictConfig,
    members: Mapping[str, list[str]],
    datasets: Sequence[Dataset],
    postprocess: str | None,
    guard: dict | None = None,
) -> dict:
    """Returns the provenance of a prediction, as JSON takes it.

    Args:
      config: the prediction's configuration.
      members: what `of_members` returns.
      datasets: the datasets that are read.
      postprocess: the spec with its presets expanded, or None if no masks are made.
      guard: what `of_guard` returns.
    """
    first = datasets[0].manifest
    # Where nothing compares films, the request is that of earlier versions.
    added = {} if guard is None else {"guard": guard}
    return durable.to_jsonable(
        {
            **added,
            "split": config.split,
            **members,
            "postprocess": postprocess,
            "keeps_maps": config.keeps_maps,
            "engine": str(config.engine),
            "predict_precision": config.predict_precision,
            "aspect": first.options["aspect"],
            "dataset": first.source_fingerprint,
            "options": [d.manifest.options for d in datasets],
        }
    )
