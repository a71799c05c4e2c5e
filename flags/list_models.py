"""Flags of `python -m trainer.list_models`."""

from absl import flags

from flags.groups import Groups

_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side of the images that every model is counted at, in `pixels`; if it is not "
    "given, each has the side that it was published with.",
    lower_bound=32,
)

GROUPS = Groups(common=(_IMAGE_SIZE,))


def image_size() -> int | None:
    """Returns the image side of all models, in pixels, or None for each one's own."""
    return _IMAGE_SIZE.value
