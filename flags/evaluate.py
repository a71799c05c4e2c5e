"""Flags of `python -m inference.evaluate`."""

import pathlib

from absl import flags

from flags import common
from inference.config import EvaluateConfig

_SUBMISSION = flags.DEFINE_string("submission", None, "Csv of one row an image.")
_TRUTH = flags.DEFINE_string("truth", None, "Csv of the true masks.")
_MASK_SIZE = flags.DEFINE_integer(
    "mask_size", 1024, "Side of the masks where no --data tells it.", lower_bound=1
)


def evaluate_config() -> EvaluateConfig:
    """Returns the flags as one frozen configuration."""
    data = common.DATA.value
    return EvaluateConfig(
        submission=pathlib.Path(common.required(_SUBMISSION)),
        truth=pathlib.Path(common.required(_TRUTH)),
        data=pathlib.Path(data) if data else None,
        output=pathlib.Path(common.required(common.OUTPUT)),
        mask_size=_MASK_SIZE.value,
        num_pictures=common.NUM_PICTURES.value,
    )
