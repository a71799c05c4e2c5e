"""Predicts images with an ensemble of trained members, to a submission.

    python -m inference.main --data=data/siim/256 --members='runs/*' \\
        --output=predictions --tta=hflip

Classifiers may decide first which images are segmented; files may be predicted
as they come, with --source; and labelled images by the members that did not
train on them, for inference.tune, with --split=out_of_fold. An interrupted
prediction goes on with the same command.
"""

from data_prep.core.errors import ExitCode
from flags import command
from flags import inference as inference_flags


def main() -> ExitCode:
    config = inference_flags.predict_config()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from trainer.machine import backend

    backend.load()
    from inference.prediction import predict

    code = predict.predict(config)
    print(config.output)
    return code


if __name__ == "__main__":
    command.run(main, inference_flags.GROUPS)
