"""The version of datasets, and what their training images may have for a truth."""

# 2: records of labels without masks; other pixels of films with windows or few levels.
SCHEMA_VERSION = 2

# The option "labels" of a dataset: a label and a mask, or a label of the whole image.
MASKS = "masks"
IMAGE_LABELS = "image"
