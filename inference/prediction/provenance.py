"""Provenance of a prediction: everything that decides it, free of paths.

A prediction's folder has it as `request.json` and as "config" in `prediction.json`;
`thresholds.json` has that of the prediction it was tuned on as "made_from".
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence

from data_prep.core import durable
from inference.config import PredictConfig
from inference.ensemble import tta
from inference.ensemble.members import LoadedGroup
from inference.ensemble.members import Member
from inference.inputs.datasets import Dataset


def of_members(
    config: PredictConfig, groups: Collection[LoadedGroup]
) -> dict[str, list[str]]:
    """Returns the members, by their weights' sha256, and the names of their views.

    Tuned thresholds hold for these; see inference/prediction/thresholds.py.
    """
    classifier_views = []
    if config.classifiers:
        classifier_views = tta.canonical(config.classifier_tta)
        classifier_views.append(f"random={config.classifier_random_views}")
    return {
        "members": _hashes(m for group in groups for m in group.segmenters),
        "tta": tta.canonical(config.tta),
        "classifiers": _hashes(m for group in groups for m in group.classifiers),
        "classifier_tta": classifier_views,
    }


def of_prediction(
    config: PredictConfig,
    groups: Collection[LoadedGroup],
    datasets: Sequence[Dataset],
    postprocess: str | None,
) -> dict:
    """Returns the provenance of a prediction, as JSON takes it.

    Args:
      config: the prediction's configuration.
      groups: all members.
      datasets: the datasets that are read.
      postprocess: the spec with its presets expanded, or None if no masks are made.
    """
    first = datasets[0].manifest
    return durable.to_jsonable(
        {
            "split": config.split,
            **of_members(config, groups),
            "postprocess": postprocess,
            "keeps_maps": config.keeps_maps,
            "engine": str(config.engine),
            "predict_precision": config.predict_precision,
            "aspect": first.options["aspect"],
            "dataset": first.source_fingerprint,
            "options": [d.manifest.options for d in datasets],
        }
    )


def _hashes(members: Iterable[Member]) -> list[str]:
    return sorted(member.weights_sha256 for member in members)
