"""What a part of a prediction holds of one image."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """The row of one image.

    Attributes:
      image_id: its id.
      rle: its mask, see data_prep/dataset/rle.py; None if no masks are made.
      probability: of a pneumothorax, in 0..1; None without classifiers.
      peak: the largest probability of a pixel, in 0..1; None where no map was made.
      guard: how unlike the members' training films the image is; None where no member
        has a description of its films; above 1 it is marked.
      height: rows of the source image, in pixels.
      width: columns of the source image, in pixels.
      unlike: the kind of features that make the image unlike them most, or None.
    """

    image_id: str
    rle: str | None
    probability: float | None
    # Parts of earlier versions lack what follows.
    peak: float | None = None
    guard: float | None = None
    height: int | None = None
    width: int | None = None
    unlike: str | None = None
