"""Flags that several commands share, each with its own default.

The fields that they fill have no default, so that each default stands in one place.
"""

import dataclasses

from absl import flags

from data_prep.config import Placement
from data_prep.core import cores
from data_prep.core.errors import ConfigError

DATA = flags.DEFINE_string(
    "data",
    None,
    "Dataset `folder` of one image size, as data_prep.main wrote it.",
)
SOURCE = flags.DEFINE_string(
    "source",
    None,
    "`Folder` of images, nested or flat: DICOM files, or PNG and JPEG files.",
)
OUTPUT = flags.DEFINE_string("output", None, "`Folder` to write.")
TRUTH = flags.DEFINE_string(
    "truth",
    None,
    "Csv `file` of the true masks: ImageId,EncodedPixels, as the competition has it.",
)
MASK_SIZE = flags.DEFINE_integer(
    "mask_size",
    1024,
    "Side of the masks that the csvs encode, in `pixels`; a dataset given by --data "
    "overrides it.",
    lower_bound=1,
)
NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    0,
    "Number of `processes`; 0 for one on each core that may be used. The output's "
    "bytes do not depend on it.",
    lower_bound=0,
)
NUM_PICTURES = flags.DEFINE_integer(
    "num_pictures", 24, "How many `images` the sheet of pictures shows.", lower_bound=1
)
AUGMENT = flags.DEFINE_string(
    "augment",
    "seed_segmentation",
    "Augmentation `recipe`: a name, or ops such as hflip(p=0.5)|rotation(10, p=0.3); "
    "none for none. See trainer/augment/recipe.py.",
)
REQUIRE_GPU = flags.DEFINE_bool(
    "require_gpu",
    False,
    "Stop with exit code 6 where a GPU is not used, instead of going on without it.",
)
CLUSTER = flags.DEFINE_string(
    "cluster",
    "",
    "`Address` host:port of a Ray cluster that does the work, or auto for the one that "
    "this machine belongs to; if it is not given, this machine does it.",
)
ALLOW_OPEN_CLUSTER = flags.DEFINE_bool(
    "allow_open_cluster",
    False,
    "Use a --cluster that asks for no token although other machines can reach it: "
    "whoever does can run programs there.",
)
PART = flags.DEFINE_string(
    "part",
    "",
    "`K/N`: do part K of N, counted from 0, of what --plan_only has planned, as the "
    "tasks of an array job do side by side.",
)
PLAN_ONLY = flags.DEFINE_bool(
    "plan_only", False, "Only write the plan that each --part then does a share of."
)
SEED = flags.DEFINE_integer("seed", 0, "`Seed` of everything random.", lower_bound=0)


def num_workers() -> int:
    """Returns --num_workers, or the number of cores that this process may use."""
    return NUM_WORKERS.value or cores.available()


def placement() -> Placement:
    """Returns the flags that say where the work runs.

    Raises:
      ConfigError: --part is not K/N with 0 <= K < N, or contradicts other flags.
    """
    return dataclasses.replace(
        placement_on_cluster(), part=_part(PART.value), plan_only=PLAN_ONLY.value
    )


def placement_on_cluster() -> Placement:
    """Returns these flags of a command whose work has no parts."""
    return Placement(cluster=CLUSTER.value, allow_open_cluster=ALLOW_OPEN_CLUSTER.value)


def _part(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise ConfigError(
            f"Expected --part=K/N, such as --part=0/8. Received: part={text}"
        )
    if not int(count):
        raise ConfigError(
            f"Expected --part=K/N with N of at least 1. Received: part={text}"
        )
    if int(index) >= int(count):
        raise ConfigError(
            f"Expected a part from 0/{count} to {int(count) - 1}/{count}, for "
            f"parts are counted from 0. Received: part={text}"
        )
    return int(index), int(count)
