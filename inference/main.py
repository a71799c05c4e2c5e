"""Predicts the test split of a dataset with an ensemble of trained members.

Or its labelled images, each with the members that did not train on it.

    python -m inference.main --data=data/siim/256 --members=runs/fold0,runs/fold1 \\
        --output=predictions --tta=hflip
"""

from flags import command
from flags import common
from flags import inference as inference_flags


def main() -> None:
    config = inference_flags.predict_config()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from inference import out_of_fold
    from inference import predict

    of_split = {"test": predict.predict, "out_of_fold": out_of_fold.predict}
    print(of_split[config.split](config))


if __name__ == "__main__":
    command.run(main, common, inference_flags)
