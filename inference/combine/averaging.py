"""The mean probability of several classifications of the same images."""

import math

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.combine import same_images
from inference.config import AverageConfig
from inference.prediction import probability_csv


def average(config: AverageConfig) -> dict[str, int | float]:
    """Writes the mean of each image's probabilities.

    Images come in the order of the first csv. Sums are rounded once, so that the
    order of the csvs does not matter.

    Returns:
      {"csvs", "images"}: how many, and {"mean"}: the mean of all images.

    Raises:
      CommandError: csvs of different images, a value that is no probability, or another
        csv where the output is to be.
    """
    given = {path: probability_csv.read(path) for path in config.probability_csvs}
    same_images.check(given)
    images = given[config.probability_csvs[0]]
    means = {
        image_id: math.fsum(found[image_id] for found in given.values()) / len(given)
        for image_id in images
    }
    if config.output.exists() and probability_csv.read(config.output) != means:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{config.output} holds other probabilities",
            fix="choose another --output, or delete this one",
        )
    probability_csv.write(config.output, means.items())
    mean = math.fsum(means.values()) / len(means)
    return {"csvs": len(given), "images": len(means), "mean": mean}
