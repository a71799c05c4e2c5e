"""Predicts images with an ensemble of trained members, to a submission.

    python -m inference.main --data=data/siim/256 --members='runs/*' \\
        --output=predictions --tta=hflip

With --classifiers, only images that pass a gate are segmented. With --source,
it predicts DICOM or PNG files. With --split=out_of_fold, labelled images are
predicted by the members that did not train on them, for inference.tune. All
visible GPUs predict, each with its own copy of the members; choose them by
CUDA_VISIBLE_DEVICES. The same command resumes an interrupted prediction.

With --cluster, the machines of a Ray cluster predict, one process on each GPU
with the members loaded once. Without an engine, --plan_only and --part=K/N
divide the work among the tasks of an array job; the command without both then
predicts what is left and joins the parts. The bytes are the same.
"""

from data_prep.core.errors import ExitCode
from flags import command
from flags import inference as inference_flags


def main() -> ExitCode:
    config = inference_flags.predict_config()
    # Imported after parsing the flags, so --help does not wait for TensorFlow.
    from trainer.machine import backend

    backend.load()
    from inference.prediction import predict

    code = predict.predict(config)
    print(config.output)
    return code


if __name__ == "__main__":
    command.run(main, inference_flags.GROUPS)
