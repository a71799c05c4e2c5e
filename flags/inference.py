"""Flags of `python -m inference.main`."""

import glob
import pathlib

from absl import flags

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import common
from flags.groups import Groups
from inference.config import ENGINES
from inference.config import Engine
from inference.config import PredictConfig

_MEMBERS = flags.DEFINE_list(
    "members",
    [],
    "Run `folders` of the segmenters, or patterns such as 'runs/*'; the mean of their "
    "probabilities is what is predicted.",
)
_CLASSIFIERS = flags.DEFINE_list(
    "classifiers",
    [],
    "Run `folders` of classifiers, or patterns of them. With gate(t) as the first "
    "step of --postprocess, only images to which they give t or more are segmented.",
)
_WEIGHTS = flags.DEFINE_enum(
    "weights",
    "swa",
    ["swa", "ema", "best", "last"],
    "Which weights of each run folder: swa are the mean of the last epochs, ema the "
    "moving average of all steps, best those of the best epoch, last of the last one.",
)
_TTA = flags.DEFINE_list(
    "tta",
    ["hflip"],
    "`Views` of each image that are predicted beside the original, and averaged: "
    "hflip, vflip, invert; none for no other.",
)
_CLASSIFIER_TTA = flags.DEFINE_list(
    "classifier_tta",
    ["hflip"],
    "`Views` of each image that the classifiers are asked about beside the original: "
    "hflip, vflip, invert; none for no other.",
)
_CLASSIFIER_RANDOM_VIEWS = flags.DEFINE_integer(
    "classifier_random_views",
    0,
    "How many random `variations` of each view the classifiers are asked about, too, "
    "by the augmentation seed_classification. The 2019 solution has 4, with "
    "--classifier_tta=invert,hflip.",
    lower_bound=0,
)
_POSTPROCESS = flags.DEFINE_string(
    "postprocess",
    "threshold(0.5)|min_area(2048)",
    "`Steps` from probabilities to a mask, such as threshold(0.5)|min_area(2048) with"
    " the area in pixels of a mask of 1024 x 1024, or the name of a published rule. "
    "See inference/masks/postprocess.py.",
)
_THRESHOLDS = flags.DEFINE_string(
    "thresholds",
    None,
    "`File` thresholds.json of inference.tune, which decides in place of "
    "--postprocess.",
)
_SPLIT = flags.DEFINE_enum(
    "split",
    "test",
    ["test", "out_of_fold"],
    "Which images of --data: test writes a submission; out_of_fold writes the "
    "probabilities of labelled images, each by the members that did not train on it, "
    "for inference.tune.",
)
_OUTPUTS = flags.DEFINE_list(
    "outputs",
    ["csv"],
    "`Kinds` of files to write: csv, masks and overlays (PNG), probabilities (maps), "
    "report (HTML).",
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    "tensorflow",
    list(ENGINES),
    "What runs the networks; openvino is faster on a CPU and has to be installed: pip "
    "install openvino.",
)
_OPENVINO_PRECISION = flags.DEFINE_enum(
    "openvino_precision",
    "f32",
    ["f32", "bf16"],
    "Number format of --engine=openvino; bf16 rounds to about three digits.",
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    16,
    "How many `images` are predicted at once; the submission does not depend on it.",
    lower_bound=1,
)
GROUPS = Groups(
    needed=((common.DATA, common.SOURCE), (_MEMBERS, _CLASSIFIERS), common.OUTPUT),
    common=(_TTA, _POSTPROCESS, _THRESHOLDS, _SPLIT, _OUTPUTS, _ENGINE),
    rare=(
        _WEIGHTS,
        _CLASSIFIER_TTA,
        _CLASSIFIER_RANDOM_VIEWS,
        _BATCH_SIZE,
        _OPENVINO_PRECISION,
        common.NUM_WORKERS,
        common.REQUIRE_GPU,
    ),
    meanings={
        "output": "`Folder` to write: submission.csv, and what --outputs names.",
        "data": "Dataset `folder` of one image size, several separated by commas, or "
        "the folder of all sizes.",
        "source": "`Folder` of images to predict as they come, nested or flat: DICOM "
        "files, or PNG and JPEG files.",
        "num_workers": "Number of `processes` that convert the images of --source; 0 "
        "for one on each core that may be used. The output's bytes do "
        "not depend on it.",
    },
)


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
                raise CommandError(
                    ExitCode.FLAGS,
                    f"--{holder.name}={pattern} matches nothing",
                    fix="correct the pattern, and quote it",
                )
        found += [pathlib.Path(m) for m in matched]
    return tuple(found)
