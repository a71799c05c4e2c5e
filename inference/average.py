"""Averages the probabilities of several classifications of the same images.

python -m inference.average --probability_csvs=a.csv,b.csv --output=mean.csv
"""

import json

from flags import average as average_flags
from flags import command
from inference.combine import averaging


def main() -> None:
    print(json.dumps(averaging.average(average_flags.average_config())))


if __name__ == "__main__":
    command.run(main, average_flags.GROUPS)
