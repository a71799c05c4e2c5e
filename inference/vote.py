"""Combines several submissions by a majority vote on each pixel.

    python -m inference.vote --submissions=a.csv,b.csv,c.csv \\
        --output=majority.csv

A tie leaves the pixel empty. Masks are 1024 x 1024 unless --mask_size or --data
is given.
"""

import json

from flags import command
from flags import vote as vote_flags
from inference.combine import voting


def main() -> None:
    print(json.dumps(voting.vote(vote_flags.vote_config())))


if __name__ == "__main__":
    command.run(main, vote_flags.GROUPS)
