"""Flags that several commands share, each with its own default.

The fields that they fill have no default, so that each default stands in one place.
"""

from absl import flags

from data_prep.core import cores

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
SEED = flags.DEFINE_integer("seed", 0, "`Seed` of everything random.", lower_bound=0)


def num_workers() -> int:
    """Returns --num_workers, or the number of cores that this process may use."""
    return NUM_WORKERS.value or cores.available()
