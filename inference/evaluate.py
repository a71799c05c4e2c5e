"""Scores a submission; writes its scores, a report.html and a sheet of pictures.

    python -m inference.evaluate --submission=predictions/submission.csv \\
        --truth=test-rle.csv --data=data/siim/256 --output=evaluation
"""

import json

from flags import command
from flags import evaluate as evaluate_flags
from inference.evaluation import evaluate


def main() -> None:
    result = evaluate.evaluate(evaluate_flags.evaluate_config())
    print(json.dumps(evaluate.summary(result), indent=2))


if __name__ == "__main__":
    command.run(main, evaluate_flags.GROUPS)
