"""Flags of `python -m inference.main`."""

import pathlib

from absl import flags

from flags import common
from inference.config import PredictConfig

_MEMBERS = flags.DEFINE_list("members", [], "Run folders, separated by commas.")
_WEIGHTS = flags.DEFINE_enum(
    "weights", "swa", ["swa", "best", "last"], "Which weights of each member."
)
_TTA = flags.DEFINE_list(
    "tta", ["hflip"], "Views beside the original: hflip; none for no other."
)
_POSTPROCESS = flags.DEFINE_string(
    "postprocess",
    "threshold(0.5)|min_area(2048)",
    "From probabilities to masks, see inference/postprocess.py.",
)
_THRESHOLDS = flags.DEFINE_string(
    "thresholds", None, "File of inference.tune, in the place of --postprocess."
)
_SPLIT = flags.DEFINE_enum(
    "split",
    "test",
    ["test", "out_of_fold"],
    "test writes a submission; out_of_fold the probabilities of labelled images, each "
    "by the members that did not train on it, for inference.tune.",
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images at once.", lower_bound=1)


def predict_config() -> PredictConfig:
    """Returns the flags as one frozen configuration."""
    common.required(_MEMBERS)
    return PredictConfig(
        data=pathlib.Path(common.required(common.DATA)),
        members=tuple(pathlib.Path(m) for m in _MEMBERS.value),
        weights=_WEIGHTS.value,
        output=pathlib.Path(common.required(common.OUTPUT)),
        tta=tuple(_TTA.value),
        split=_SPLIT.value,
        postprocess=_POSTPROCESS.value,
        thresholds=common.path(_THRESHOLDS),
        batch_size=_BATCH_SIZE.value,
    )
