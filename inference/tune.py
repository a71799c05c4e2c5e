"""Searches the best post-processing, exactly, on out-of-fold predictions.

    python -m inference.tune --predictions=out_of_fold --truth=train-rle.csv \\
        --output=tuning

Every triplet of --tops, --min_areas and --bottoms is scored, and every gate of
--gates if classifiers were there. The counts of pixels are kept in the output,
so that another grid of the same thresholds takes seconds.
"""

from flags import command
from flags import tune as tune_flags
from inference.tuning import search


def main() -> None:
    print(search.tune(tune_flags.tune_config()))


if __name__ == "__main__":
    command.run(main, tune_flags.GROUPS)
