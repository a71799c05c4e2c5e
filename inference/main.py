"""Predicts the test split of a dataset with an ensemble of trained members.

    python -m inference.main --data=data/siim/256 --members=runs/fold0,runs/fold1 \\
        --output=predictions --tta=hflip
"""

from flags import command
from flags import common
from flags import inference as inference_flags


def main() -> None:
    config = inference_flags.predict_config()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from inference import predict

    print(predict.predict(config))


if __name__ == "__main__":
    command.run(main, common, inference_flags)
