"""Searches for the best post-processing, exactly, on out-of-fold predictions.

    python -m inference.tune --predictions=out_of_fold --truth=train-rle.csv \\
        --output=tuning

It scores every triplet of --tops, --min_areas and --bottoms and, if the
prediction has classifiers, every gate of --gates. The output keeps the pixel
counts, so another grid of the same thresholds takes seconds.
"""

from flags import command
from flags import tune as tune_flags
from inference.tuning import search


def main() -> None:
    print(search.tune(tune_flags.tune_config()))


if __name__ == "__main__":
    command.run(main, tune_flags.GROUPS)
