"""Lists the models: size, parameters, arithmetic, memory, source.

python -m trainer.list_models [--image_size=256]
"""

from flags import command
from flags import list_models as list_models_flags


def main() -> None:
    image_size = list_models_flags.image_size()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from trainer.machine import backend

    backend.load()
    import tensorflow as tf

    from trainer.models import model_summary

    # TensorFlow's profiler warns that it is deprecated.
    tf.get_logger().setLevel("ERROR")
    print(model_summary.table(image_size))


if __name__ == "__main__":
    command.run(main, list_models_flags.GROUPS)
