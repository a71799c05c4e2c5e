"""Averages several classifications of the same images."""

import math

from inference.combine import output_csv
from inference.config import AverageConfig
from inference.inputs import csv_ids
from inference.prediction import probability_csv


def average(config: AverageConfig) -> dict[str, int | float]:
    """Writes the mean of each image's probabilities.

    Images keep the order of the first csv. `math.fsum` rounds each sum once, so the
    order of the csvs does not matter.

    Returns:
      {"csvs", "images"}: their numbers, and {"mean"}: the mean over all images.

    Raises:
      CommandError: the csvs have different images, a value is no probability, or the
        output exists with other probabilities.
    """
    tables = {path: probability_csv.read(path) for path in config.probability_csvs}
    csv_ids.check_equal(tables)
    images = tables[config.probability_csvs[0]]
    means = {
        image_id: math.fsum(table[image_id] for table in tables.values()) / len(tables)
        for image_id in images
    }
    output_csv.write_unless_other(
        config.output,
        means,
        read=probability_csv.read,
        write=probability_csv.write,
        conflict="holds other probabilities",
    )
    mean = math.fsum(means.values()) / len(means)
    return {"csvs": len(tables), "images": len(means), "mean": mean}
