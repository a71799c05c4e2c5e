"""A job of bulk prediction: films to predict, and members that find what is drawn.

What `tests.benchmarks.predictions` draws as probabilities becomes grey values here,
so that 22 % of the films have bright lesions, 8 % specks, and the rest neither. The
members are small networks of the registry. Random weights would see lesions
everywhere; in these one channel of the first and of the last node passes brightness
on, blurred, and the mask's layer cuts it. All other weights are random: they are
computed and have no say.
"""

import pathlib

import keras
import numpy as np

from data_prep.dataset import manifest
from data_prep.dataset import schema
from data_prep.dataset import shards
from tests.benchmarks import predictions
from trainer.models import registry
from trainer.run.run_folder import RunFolder

SOURCE_SIZE = 1024
# The smallest one, so that what is around the networks shows.
MODEL = "nested_unetpp(start_filters=1)"
# The same network for who knows nothing of run folders.
NETWORK = "network.keras"
_SHARDS = 2
# Grey values where there is surely nothing, and surely a lesion.
_DARK, _BRIGHT = 60.0, 220.0


def write_dataset(folder: pathlib.Path, *, count: int, size: int) -> pathlib.Path:
    """Writes a dataset folder whose test split has `count` films of `size` px."""
    films = np.rint(_DARK + (_BRIGHT - _DARK) * predictions.draw(count, size))
    # Lesions come first there; a job's films are mixed.
    films = np.random.default_rng(0).permutation(films.astype(np.uint8))
    return write_films(folder, films)


def write_films(folder: pathlib.Path, films: np.ndarray) -> pathlib.Path:
    """Writes a dataset folder whose test split is `films`, [N, S, S, ...] uint8."""
    count, size = films.shape[:2]
    written = []
    for index, numbers in enumerate(np.array_split(np.arange(count), _SHARDS)):
        name = shards.file_name(shards.TEST_SPLIT, index, _SHARDS)
        records = (_record(k, films[k]) for k in numbers.tolist())
        num_records, num_bytes, sha256 = shards.write(folder / name, records)
        written.append(
            shards.Shard(
                name=name,
                split=shards.TEST_SPLIT,
                fold=schema.NO_FOLD,
                label=schema.UNKNOWN_LABEL,
                num_records=num_records,
                num_bytes=num_bytes,
                sha256=sha256,
            )
        )
    options = {
        "image_size": size,
        "aspect": "pad",
        "interpolation": "area",
        "clahe": "none",
        "voi": "first",
        "pixel_encoding": "raw",
    }
    manifest.write(
        folder,
        manifest.Manifest(
            image_size=size,
            num_folds=2,
            options=options,
            mean=float(films.mean()),
            std=float(films.std()),
            source_fingerprint=f"drawn-{count}",
            shards=tuple(written),
        ),
    )
    return folder


def write_members(
    folder: pathlib.Path, data: pathlib.Path, *, count: int
) -> list[pathlib.Path]:
    """Writes `count` finished runs for the dataset `data`, each with a NETWORK."""
    dataset = manifest.read(data)
    paths = []
    for seed in range(count):
        run = RunFolder(folder / f"member{seed}")
        config = {"model": MODEL, "precision": "float32", "fold": 0}
        run.claim(config, dataset, "")
        model = _bright_finder(dataset.image_size, seed)
        run.save_weights(model, "swa")
        run.finish({}, {}, 0.0)
        model.save(run.path / NETWORK)
        paths.append(run.path)
    return paths


def _record(number: int, film: np.ndarray) -> bytes:
    return schema.serialize(
        schema.Record(
            image_id=f"film.{number:06d}",
            pixels=film.tobytes(),
            source_height=SOURCE_SIZE,
            source_width=SOURCE_SIZE,
            mask_bits=None,
            label=schema.UNKNOWN_LABEL,
            fold=schema.NO_FOLD,
            group="",
        )
    )


def _bright_finder(size: int, seed: int) -> keras.Model:
    """Returns a network whose logits are 0 about half way between dark and bright."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = registry.build_from_spec(MODEL, image_size=size)
    point, blur = np.zeros((3, 3)), np.full((3, 3), rng.uniform(0.02, 0.08))
    point[1, 1] = 1
    blur[1, 1] += 1 - blur.sum()
    for name, kernel in (
        ("x00_conv1", point),
        ("x00_conv2", point),
        ("x04_conv1", blur),
        ("x04_conv2", blur),
    ):
        layer = model.get_layer(name)
        weights = layer.kernel.numpy()
        weights[:, :, :, 0] = 0
        weights[:, :, 0, 0] = kernel
        layer.kernel.assign(weights)
    middle = ((_DARK + _BRIGHT) / 2 + rng.uniform(-8, 8)) / 255
    slope = rng.uniform(15, 25)
    cut = model.get_layer("mask_logits")
    kernel = np.zeros(cut.kernel.shape)
    kernel[:, :, 0] = slope
    cut.kernel.assign(kernel)
    cut.bias.assign([-slope * middle])
    return model
