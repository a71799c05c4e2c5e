"""Exports an ensemble as an artefact that is served without this project.

    python -m inference.export --members='runs/*' --format=savedmodel \\
        --thresholds=tuning/thresholds.json --output=served

A SavedModel takes the bytes of PNG and JPEG files; its preprocessing, the
members with their views, and the post-processing are in its graph. ONNX and
OpenVINO start at grey squares. What was written is compared with the members'
own prediction before it gets its name. docs/serving.md shows how to serve it.
"""

from flags import command
from flags import export as export_flags


def main() -> None:
    config = export_flags.export_config()
    # Imported after parsing the flags, so --help does not wait for TensorFlow.
    from trainer.machine import backend

    backend.load()
    from inference.artefact import export

    print(export.export(config))
    print(config.output)


if __name__ == "__main__":
    command.run(main, export_flags.GROUPS)
