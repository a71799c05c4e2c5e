"""Flags of `python -m inference.export`."""

from flags import common
from flags import fields
from flags import inference as inference_flags
from flags.groups import Groups
from inference.config import ExportConfig

(
    _MEMBERS,
    _CLASSIFIERS,
    _TTA,
    _CLASSIFIER_TTA,
    _POSTPROCESS,
    _THRESHOLDS,
    _WEIGHTS,
    _QUANTILE,
) = (
    inference_flags.GROUPS.holder(name)
    for name in (
        "members",
        "classifiers",
        "tta",
        "classifier_tta",
        "postprocess",
        "thresholds",
        "weights",
        "guard_quantile",
    )
)
_FORMAT = fields.define(
    ExportConfig,
    "format",
    "What to write: savedmodel takes the bytes of PNG and JPEG files and is laid out "
    "for TensorFlow Serving; onnx and openvino take grey squares, already shrunk and "
    "equalised, and give the mean map and the probability; member packs one run, of a "
    "segmenter or a classifier, to hand on.",
)
_MORE_WEIGHTS = fields.define(
    ExportConfig,
    "more_weights",
    "Further `weights` beside --weights that --format=member packs: swa, ema, best, "
    "last.",
)

GROUPS = Groups(
    needed=(_MEMBERS, common.OUTPUT),
    common=(_FORMAT, _CLASSIFIERS, _TTA, _POSTPROCESS, _THRESHOLDS),
    rare=(_CLASSIFIER_TTA, _WEIGHTS, _MORE_WEIGHTS, _QUANTILE),
    meanings={
        "guard_quantile": "Share of films like those of the members' training, in "
        "`0..1`, that a SavedModel does not mark as unlike them; 0 compares no films.",
        "output": "`Folder` to write; it must not exist, or be the same export. "
        "With --format=member the file to write, which ends in .zip.",
        "members": "Run `folders` of the segmenters, or patterns such as 'runs/*'; the "
        "mean of their probabilities is what the artefact gives.",
        "classifiers": "Run `folders` of classifiers, or patterns of them; their mean "
        "is an image's probability, and gate(t) in --postprocess asks for it.",
    },
)


def export_config() -> ExportConfig:
    """Returns the flags as one frozen configuration."""
    fields.required(_MEMBERS)
    return fields.read(
        ExportConfig,
        GROUPS,
        members=inference_flags.matched(_MEMBERS),
        classifiers=inference_flags.matched(_CLASSIFIERS),
    )
