"""Flags of `python -m trainer.list_models`."""

from absl import flags

_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side for all models, in pixels; without, each has its own.",
    lower_bound=32,
)


def image_size() -> int | None:
    """Returns the side that all models are counted at, or None for each one's own."""
    return _IMAGE_SIZE.value
