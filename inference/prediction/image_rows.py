"""Makes the row of `images.csv` for an image from what was predicted for it."""

from inference.masks import image_probability
from inference.masks import mask_facts
from inference.masks.mask_facts import MaskFacts
from inference.prediction import unlike_csv
from inference.prediction.film_facts import FilmFacts
from inference.prediction.images_csv import ImageRow
from inference.prediction.row import Row

# {code: what it says}. The others are of the conversion, in upper case, see
# data_prep/pixels/notices.py. The codes are part of the format.
WARNINGS = {
    "unlike": "the film is unlike those that the members were trained on: its guard "
    "score is above 1",
    "mask_at_border": "the mask reaches an edge of the image, and may go on beyond it",
    "spacing_unknown": "the area in mm2 is not known, for nothing names the size of a "
    "pixel",
    "spacing_odd": "likewise, for the header names a size that no film has",
    "not_measured": "an earlier release has predicted the image and not kept its size",
}


def of(
    row: Row, films: FilmFacts, seconds: float | None, *, is_left_out: bool = False
) -> ImageRow:
    """Returns the row of one image.

    Args:
      row: what was predicted for it.
      films: what else is known of the images.
      seconds: that it took, or None.
      is_left_out: whether the image is left out of the predictions: then the cells of
        what was predicted for it are empty. A probability near 0 would say that it is
        healthy, as an empty mask would.
    """
    spacing, warnings = films.spacings.get(row.image_id), []
    if unlike_csv.is_marked(row.guard):
        warnings.append("unlike")
    facts = area_mm2 = None
    if row.rle is not None and not is_left_out:
        facts = _measured(row)
        if facts is None:
            warnings.append("not_measured")
        elif not facts.area_px:
            area_mm2 = 0.0
        elif spacing and spacing.is_known:
            area_mm2 = facts.area_px * spacing.pixel_mm2
        else:
            warnings.append("spacing_odd" if spacing else "spacing_unknown")
        if facts and facts.at_border:
            warnings.append("mask_at_border")
    return ImageRow(
        image_id=row.image_id,
        probability=None if is_left_out else _probability(row, films.temperature),
        area_px=facts and facts.area_px,
        area_mm2=area_mm2,
        side=facts.side if facts else "",
        regions=facts and facts.num_regions,
        guard=row.guard,
        seconds=seconds,
        spacing_mm=spacing.text if spacing else "",
        spacing_from=spacing.origin if spacing and spacing.is_known else "",
        warnings=(*warnings, *films.notices.get(row.image_id, ())),
    )


def _measured(row: Row) -> MaskFacts | None:
    if row.height is None or row.width is None:
        return None
    return mask_facts.measure(row.rle, row.height, row.width)


def _probability(row: Row, temperature: float | None) -> float | None:
    """Returns that of the classifiers, or of the likeliest pixel without them."""
    value = row.peak if row.probability is None else row.probability
    if value is None or temperature is None:
        return value
    return float(image_probability.calibrated(value, temperature))
