"""Flags of `python -m inference.main`."""

import glob
import pathlib

from absl import flags

from data_prep.failures import ExitCode
from data_prep.failures import Failure
from flags import common
from inference.config import ENGINES
from inference.config import Engine
from inference.config import PredictConfig

_MEMBERS = flags.DEFINE_list(
    "members", [], "Run folders or globs of them, separated by commas: segmenters."
)
_CLASSIFIERS = flags.DEFINE_list(
    "classifiers",
    [],
    "Likewise: classifiers. With a gate(t) first in --postprocess, only images that "
    "they give t or more are segmented.",
)
_WEIGHTS = flags.DEFINE_enum(
    "weights", "swa", ["swa", "ema", "best", "last"], "Which weights of each member."
)
_TTA = flags.DEFINE_list(
    "tta",
    ["hflip"],
    "Views beside the original: hflip, vflip, invert; none for no other.",
)
_CLASSIFIER_TTA = flags.DEFINE_list(
    "classifier_tta", ["hflip"], "Views of the classifiers, as for --tta."
)
_CLASSIFIER_RANDOM_VIEWS = flags.DEFINE_integer(
    "classifier_random_views",
    0,
    "Random variations of each view, by the augmentation seed_classification; the "
    "2019 solution: 4, with --classifier_tta=invert,hflip.",
    lower_bound=0,
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
_OUTPUTS = flags.DEFINE_list(
    "outputs",
    ["csv"],
    "csv, masks and overlays (PNG), probabilities (maps), report (HTML).",
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    "tensorflow",
    list(ENGINES),
    "What runs the networks; openvino is faster on a CPU, see "
    "requirements-openvino.txt.",
)
_OPENVINO_PRECISION = flags.DEFINE_enum(
    "openvino_precision", "f32", ["f32", "bf16"], "bf16 rounds to three digits."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images at once.", lower_bound=1)


def predict_config() -> PredictConfig:
    """Returns the flags as one frozen configuration."""
    if not _CLASSIFIERS.value:
        common.required(_MEMBERS)
    if not common.SOURCE.value:
        common.required(common.DATA)
    return PredictConfig(
        data=tuple(pathlib.Path(p) for p in (common.DATA.value or "").split(",") if p),
        source=common.path(common.SOURCE),
        members=_runs(_MEMBERS),
        classifiers=_runs(_CLASSIFIERS),
        weights=_WEIGHTS.value,
        output=pathlib.Path(common.required(common.OUTPUT)),
        tta=tuple(_TTA.value),
        classifier_tta=tuple(_CLASSIFIER_TTA.value),
        classifier_random_views=_CLASSIFIER_RANDOM_VIEWS.value,
        split=_SPLIT.value,
        postprocess=_POSTPROCESS.value,
        thresholds=common.path(_THRESHOLDS),
        outputs=tuple(_OUTPUTS.value),
        engine=Engine(name=_ENGINE.value, precision=_OPENVINO_PRECISION.value),
        batch_size=_BATCH_SIZE.value,
        num_workers=common.num_workers(),
        require_gpu=common.REQUIRE_GPU.value,
    )


def _runs(holder: flags.FlagHolder) -> tuple[pathlib.Path, ...]:
    """Returns paths, globs replaced by what they match."""
    found: list[pathlib.Path] = []
    for pattern in holder.value:
        matched = [pattern]
        if glob.has_magic(pattern):
            matched = sorted(glob.glob(pattern))
            if not matched:
                raise Failure(
                    ExitCode.FLAGS,
                    f"--{holder.name}={pattern} matches nothing",
                    mend="correct the pattern, and quote it",
                )
        found += [pathlib.Path(m) for m in matched]
    return tuple(found)
