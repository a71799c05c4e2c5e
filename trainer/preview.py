"""Draws images before and after each op of an augmentation recipe.

    python -m trainer.preview --data=data/siim/256 --augment=seed_segmentation \\
        --output=preview.png
"""

from flags import command
from flags import preview as preview_flags


def main() -> None:
    config = preview_flags.preview_config()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from trainer.machine import backend

    backend.load()
    from trainer.input import preview_pictures

    preview_pictures.write(config)
    print(config.output)


if __name__ == "__main__":
    command.run(main, preview_flags.GROUPS)
