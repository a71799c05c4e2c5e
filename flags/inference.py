"""Flags of `python -m inference.main`."""

import functools
import glob
import pathlib

from absl import flags

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import common
from flags import fields
from flags.groups import Groups
from flags.id_from import ID_FROM
from inference.config import Engine
from inference.config import PredictConfig

_define = functools.partial(fields.define, PredictConfig)
_MEMBERS = _define(
    "members",
    "Run `folders` of the segmenters, files of --format=member, or patterns such as "
    "'runs/*' and 'members/*.zip'; the mean of their probabilities is what is "
    "predicted.",
)
_CLASSIFIERS = _define(
    "classifiers",
    "Run `folders` of classifiers, files, or patterns of them. With gate(t) as the "
    "first step of --postprocess, only images to which they give t or more are "
    "segmented.",
)
_ENGINE = fields.define(
    Engine,
    "engine",
    "What runs the networks; openvino is faster on a CPU and has to be installed: pip "
    "install openvino. auto takes openvino on a CPU if it is installed and agrees with "
    "tensorflow on the first images, and says so; an interrupted prediction goes on "
    "with the engine that it began with.",
    field="name",
)
_OPENVINO_PRECISION = fields.define(
    Engine,
    "openvino_precision",
    "Number format of --engine=openvino; bf16 rounds to about three digits.",
    field="precision",
)
# The evaluation has it, too.
THRESHOLDS = _define(
    "thresholds",
    "`File` thresholds.json of inference.tune, which decides in place of "
    "--postprocess.",
)

GROUPS = Groups(
    needed=((common.DATA, common.SOURCE), (_MEMBERS, _CLASSIFIERS), common.OUTPUT),
    common=(
        _define(
            "tta",
            "`Views` of each image that are predicted beside the original, and "
            "averaged: hflip, vflip, invert; none for no other.",
        ),
        _define(
            "postprocess",
            "`Steps` from probabilities to a mask, such as "
            "threshold(0.5)|min_area(2048) with the area in pixels of a mask of 1024 x "
            "1024, or the name of a published rule. See "
            "inference/masks/postprocess.py.",
        ),
        THRESHOLDS,
        _define(
            "split",
            "Which images of --data: test writes a submission; out_of_fold writes the "
            "probabilities of labelled images, each by the members that did not train "
            "on it, for inference.tune.",
        ),
        _define(
            "outputs",
            "`Kinds` of files to write: csv, masks and overlays (PNG), probabilities "
            "(maps), report (HTML, with a viewer of the films in the folder films), "
            "dicom_seg (a DICOM segmentation of each DICOM film of --source; has to be "
            "installed: pip install highdicom).",
        ),
        _define(
            "guard_quantile",
            "Share of films like those of the members' training, in `0..1`, that is "
            "not marked as unlike them in unlike.csv; 0 compares no films.",
        ),
        _define(
            "on_unlike",
            "What becomes of films unlike those of the training: warn lists them in "
            "unlike.csv; quarantine leaves them out of submission.csv and "
            "classification.csv, too, and the command ends with exit code 3.",
        ),
        _ENGINE,
        common.CLUSTER,
        common.PLAN_ONLY,
        common.PART,
    ),
    rare=(
        common.ALLOW_OPEN_CLUSTER,
        _define(
            "weights",
            "Which weights of each run folder: swa are the mean of the last epochs, "
            "ema the moving average of all steps, best those of the best epoch, last "
            "of the last one.",
        ),
        _define(
            "classifier_tta",
            "`Views` of each image that the classifiers are asked about beside the "
            "original: hflip, vflip, invert; none for no other.",
        ),
        _define(
            "classifier_random_views",
            "How many random `variations` of each view the classifiers are asked "
            "about, too, by the augmentation seed_classification. The 2019 solution "
            "has 4, with --classifier_tta=invert,hflip.",
        ),
        _define(
            "batch_size",
            "How many `images` a device predicts at once, halved where it lacks "
            "memory; the submission depends on it by rounding at most.",
        ),
        _define(
            "predict_precision",
            "Number format of TensorFlow's networks: trained is that of each member's "
            "training; float32 has no TF32; for bfloat16 and float16, which are meant "
            "for GPUs, a log line says what they change in the first images.",
        ),
        _define(
            "guard",
            "Run `folder` of --model=vae_cnn, of which how well it reconstructs a film "
            "is a further sign of films unlike those of its training.",
        ),
        _OPENVINO_PRECISION,
        ID_FROM,
        common.NUM_WORKERS,
        common.REQUIRE_GPU,
    ),
    meanings={
        "output": "`Folder` to write: submission.csv, and what --outputs names.",
        "data": "Dataset `folder` of one image size, several separated by commas, or "
        "the folder of all sizes.",
        "source": "`Folder` of images to predict as they come, nested or flat: DICOM "
        "files, or PNG and JPEG files.",
        "num_workers": "Number of `processes` that convert the images of --source, of "
        "each task of a --cluster; 0 for one on each core that may be used, or one for "
        "each task. The output's bytes do not depend on it.",
        "plan_only": "Only check everything and write the plan of which each --part "
        "then does a share; the images of --source are converted whole.",
        "part": "`K/N`: predict part K of N, counted from 0, of what --plan_only has "
        "planned, as the tasks of an array job do side by side; the command without it "
        "predicts what is left and joins all.",
    },
)


def predict_config() -> PredictConfig:
    """Returns the flags as one frozen configuration."""
    if not _CLASSIFIERS.value:
        fields.required(_MEMBERS)
    if not common.SOURCE.value:
        fields.required(common.DATA)
    placement, num_workers = common.placement(), common.num_workers()
    if placement.cluster:
        # Of each task; the engine gives a machine as many tasks as it has cores.
        num_workers = common.NUM_WORKERS.value or 1
    return fields.read(
        PredictConfig,
        GROUPS,
        data=tuple(fields.path(p) for p in (common.DATA.value or "").split(",") if p),
        members=matched(_MEMBERS),
        classifiers=matched(_CLASSIFIERS),
        engine=Engine(name=_ENGINE.value, precision=_OPENVINO_PRECISION.value),
        num_workers=num_workers,
        placement=placement,
    )


def matched(holder: flags.FlagHolder) -> tuple[pathlib.Path, ...]:
    """Returns a flag's paths, with each pattern replaced by the paths it matches."""
    paths: list[pathlib.Path] = []
    for written in holder.value:
        path = fields.path(written)
        matched = [path]
        if glob.has_magic(str(path)):
            matched = remote.matching(path)
            if not matched:
                raise CommandError(
                    ExitCode.FLAGS,
                    f"--{holder.name}={written} matches nothing",
                    fix="correct the pattern, and quote it",
                )
        paths += matched
    return tuple(paths)
