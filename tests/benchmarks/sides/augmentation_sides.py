"""The sides of the augmentation benchmark, each in a process that serves requests.

    python -m tests.benchmarks.sides.augmentation_sides SIDE RECIPE SIZE CORES

Reads a number of batches from each line of stdin, augments as many, and prints a line
of JSON with wall and CPU seconds. Every side takes the same uint8 images and masks from
memory and delivers batches of uint8, [16, S, S, 1].
"""

import json
import os
import sys
import time

import cv2
import numpy as np

OURS = "ours"
ALBUMENTATIONS = "albumentations"
KERAS = "keras"
SEED, ALL, LIGHT = "seed_segmentation", "all", "light"
RECIPES = {
    SEED: "seed_segmentation",
    ALL: "hflip|contrast(0.2)|gamma(0.8, 1.2)|brightness(0.2)|elastic(120, 6, 3.6)"
    "|grid(5, 0.3)|optical(2, 0.5)|crop(0.6875, 1)",
    LIGHT: "hflip(p=0.5)|brightness(0.2)|gamma(0.8, 1.2)|rotation(15)|zoom(0.9, 1.1)"
    "|shift(0.0625)",
}
BATCH = 16


def images_and_masks(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a batch of smooth images with some noise, and masks with discs."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (BATCH, 8, 8), np.uint8)
    images = [
        cv2.resize(c, (size, size), interpolation=cv2.INTER_CUBIC) for c in coarse
    ]
    images = np.clip(images + rng.normal(0, 5, (BATCH, size, size)), 0, 255)
    masks = np.zeros((BATCH, size, size), np.uint8)
    # As in the competition, where 22 % of the images have a lesion.
    for mask in masks[:: BATCH // 4]:
        centre = tuple(int(c) for c in rng.integers(size // 4, size // 2, 2))
        cv2.circle(mask, centre, size // 8, 1, -1)
    return images.astype(np.uint8)[..., None], masks[..., None]


def ours(recipe_name: str, size: int, cores: int):
    """Our augmentation in a tf.data map, as in the training pipeline."""
    import tensorflow as tf

    from trainer.augment import compiled
    from trainer.augment import draws
    from trainer.augment import recipe

    augment = compiled.image_by_image(recipe.parse(RECIPES[recipe_name]))

    def change(step, parts):
        return augment(*parts, draws.seeds_of_step(0, step, BATCH))

    return _dataset(tf, change, size, cores)


def keras_layers(recipe_name: str, size: int, cores: int):
    """The light recipe as a chain of Keras layers; contrast replaces gamma."""
    import keras
    import tensorflow as tf

    if recipe_name != LIGHT:
        raise ValueError(f"Keras has no counterpart of {recipe_name}")
    layers = keras.layers
    chain = [
        layers.RandomFlip("horizontal"),
        layers.RandomBrightness(0.2, value_range=(0, 255)),
        layers.RandomContrast(0.2, value_range=(0, 255)),
        layers.RandomRotation(15 / 360, fill_mode="reflect"),
        layers.RandomZoom((-0.1, 0.1), fill_mode="reflect"),
        layers.RandomTranslation(0.0625, 0.0625, fill_mode="reflect"),
    ]

    def change(_, parts):
        images, masks = (tf.cast(part, tf.float32) for part in parts)
        batch = {"images": images, "segmentation_masks": masks}
        for layer in chain:
            batch = layer(batch, training=True)
        return tuple(
            tf.cast(tf.round(batch[key]), tf.uint8)
            for key in ("images", "segmentation_masks")
        )

    return _dataset(tf, change, size, cores)


def albumentations(recipe_name: str, size: int, cores: int):
    """albumentations in one thread; the benchmark runs one process per core."""
    import albumentations as A

    del cores
    cv2.setNumThreads(1)
    scale, reflect = size / 256, {"border_mode": cv2.BORDER_REFLECT_101}

    def photometric(brightness=0.0, contrast=0.0):
        return A.RandomBrightnessContrast(
            brightness_limit=brightness,
            contrast_limit=contrast,
            brightness_by_max=False,
            p=1,
        )

    contrast, brightness = photometric(contrast=0.2), photometric(brightness=0.2)
    gamma = A.RandomGamma((80, 120), p=1)
    elastic = A.ElasticTransform(alpha=120 * scale, sigma=6 * scale, p=1, **reflect)
    grid = A.GridDistortion(5, (-0.3, 0.3), normalized=False, p=1, **reflect)
    optical = A.OpticalDistortion((-2, 2), p=1, **reflect)

    def crop(p):
        return A.RandomSizedCrop((round(0.6875 * size), size), (size, size), p=p)

    steps = {
        SEED: [
            A.HorizontalFlip(p=0.5),
            A.OneOf([contrast, gamma, brightness], p=0.3),
            A.OneOf([elastic, grid, optical], p=0.3),
            crop(0.25),
        ],
        ALL: [
            A.HorizontalFlip(p=1),
            *(contrast, gamma, brightness, elastic, grid, optical, crop(1)),
        ],
        LIGHT: [
            A.HorizontalFlip(p=0.5),
            brightness,
            gamma,
            A.Affine(
                rotate=(-15, 15),
                scale=(1 / 1.1, 1 / 0.9),
                translate_percent=(-0.0625, 0.0625),
                p=1,
                **reflect,
            ),
        ],
    }
    compose = A.Compose(steps[recipe_name])
    images, masks = images_and_masks(size)

    def run(num_batches: int) -> None:
        for _ in range(num_batches):
            found = [
                compose(image=i, mask=m) for i, m in zip(images, masks, strict=True)
            ]
            for key in ("image", "mask"):
                np.stack([one[key] for one in found])

    return run


SIDES = {OURS: ours, ALBUMENTATIONS: albumentations, KERAS: keras_layers}


def _dataset(tf, change, size: int, cores: int):
    parts = tuple(tf.constant(array) for array in images_and_masks(size))

    def numbered(step):
        return change(step, parts)

    # All runs share one function, so that it is compiled once.
    data = tf.data.Dataset.range(1 << 40)
    data = data.map(numbered, num_parallel_calls=cores, deterministic=True)

    def run(num_batches: int) -> None:
        # A new iterator does not prefetch while another side is timed.
        for _ in data.take(num_batches).prefetch(2):
            pass

    return run


def main() -> None:
    side, recipe_name, size, cores = sys.argv[1:]
    run = SIDES[side](recipe_name, int(size), int(cores))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Libraries must not print into the answers.
    for line in sys.stdin:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        run(int(line))
        report = {
            "wall_s": time.perf_counter() - wall_s,
            "cpu_s": time.process_time() - cpu_s,
        }
        print(json.dumps(report), file=answers, flush=True)


if __name__ == "__main__":
    main()
