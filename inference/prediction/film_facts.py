"""What is known of the films of a prediction besides what it predicts."""

import dataclasses
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

from data_prep.build import spacing_table
from data_prep.pixels import notices as conversion_notices
from data_prep.pixels.dicom_spacing import Spacing


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilmFacts:
    """Facts that are beside a dataset, and how to put probabilities.

    Attributes:
      spacings: {image id: size of its pixels}; those of an image that is not here are
        unknown.
      notices: {image id: codes of what was odd about its file}, see
        data_prep/pixels/notices.py.
      temperature: divides the logits of the probabilities, see
        inference/masks/image_probability.py; None leaves them as they are.
    """

    spacings: Mapping[str, Spacing] = dataclasses.field(default_factory=dict)
    notices: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    temperature: float | None = None


def read(dataset: pathlib.Path, temperature: float | None) -> FilmFacts:
    """Reads the tables that a conversion has written beside its datasets.

    A dataset folder that was copied alone, or is of an earlier release, has none.

    Args:
      dataset: folder of one image size.
      temperature: see `FilmFacts`.

    Raises:
      CommandError: a table is damaged.
    """
    folder = dataset.parent
    codes: dict[str, list[str]] = {}
    for image_id, code in conversion_notices.read(folder):
        codes.setdefault(image_id, []).append(code)
    return FilmFacts(
        spacings=spacing_table.read(folder), notices=codes, temperature=temperature
    )
