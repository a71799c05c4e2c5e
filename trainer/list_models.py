"""Lists the models: size, parameters, arithmetic, source; or the memory of one.

    python -m trainer.list_models [--image_size=256]
    python -m trainer.list_models --preset=kaggle_2xt4_256
    python -m trainer.list_models --model=unet --image_size=512 \\
        --global_batch_size=16 --precision=mixed_bfloat16

With a preset, a model or another flag of the training, it estimates the memory
that a training step needs on each device, and the cards that have it. It needs
no GPU.
"""

from flags import command
from flags import list_models as list_models_flags


def main() -> None:
    request = list_models_flags.request()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from trainer.machine import backend

    backend.load()
    import tensorflow as tf

    from trainer import step_memory
    from trainer.models import model_summary

    # TensorFlow's profiler warns that it is deprecated.
    tf.get_logger().setLevel("ERROR")
    if request.config is None:
        print(model_summary.table(request.image_size))
        return
    step_memory.on_logical_cpus()
    print(
        step_memory.report(
            request.config,
            image_size=request.image_size or model_summary.side(request.config.model),
            num_devices=request.num_devices,
        )
    )


if __name__ == "__main__":
    command.run(main, list_models_flags.GROUPS)
