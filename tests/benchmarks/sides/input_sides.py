"""The sides of the input benchmark, each in a separate process.

    python -m tests.benchmarks.sides.input_sides SIDE FOLDER SIZE CORES

Every side reads the same record files in shuffled order and delivers batches of uint8
images and masks, [16, S, S, 1]. One repeat of the work is the next eight batches of the
recipe. The outputs are digests of one epoch as stored and of one fully mirrored epoch.
"""

import functools
import hashlib
import itertools
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Iterator

import cv2
import numpy as np

from data_prep.dataset import schema
from data_prep.dataset import shards
from tests.benchmarks.harness import worker

OURS, DALI, GRAIN = "ours", "dali", "grain"
NEEDS = {OURS: (), DALI: ("nvidia-dali-cuda120",), GRAIN: ("grain",)}
STORED, MIRRORED, RECIPE = "none", "hflip(p=1)", "recipe"
# Ops that DALI has on a CPU, where elastic, grid and optical distortion are missing.
OUR_RECIPE = (
    "hflip(p=0.5)|contrast(0.2)|brightness(0.2)|rotation(15)|zoom(0.9, 1.1)"
    "|shift(0.0625)"
)
BATCH = 16
_BATCHES = 8
_DEGREES, _SHIFT = 15, 0.0625

# (folder, size, cores, what) -> endless batches of images and masks
Batches = Iterator[tuple[np.ndarray, np.ndarray]]


def ours(folder: pathlib.Path, size: int, cores: int, what: str) -> Batches:
    """The pipeline of `trainer.main`, which verifies every checksum."""

    from trainer.augment import compiled
    from trainer.augment import recipe
    from trainer.input import input_pipeline
    from trainer.input import sampling
    from trainer.input.record_store import RandomAccessSource
    from trainer.input.records import Decoder

    del cores  # TensorFlow uses all cores of the process.
    decode = Decoder(image_size=size, pixel_encoding="raw", with_mask=True)
    store = RandomAccessSource(folder, shards_of(folder), decode)
    numbers = np.arange(store.count)
    order = sampling.parse("natural").order(
        sampling.Request(
            positives=numbers[:1],
            negatives=numbers[1:],
            epochs=1,
            batch_size=BATCH,
            seed=1,
        )
    )
    augment = recipe.parse(OUR_RECIPE if what == RECIPE else what)
    batches = input_pipeline.for_training(
        order, store, compiled.image_by_image(augment), batch_size=BATCH, seed=1
    )
    for found in batches:
        yield found["image"].numpy(), found["mask"].numpy()


def dali(folder: pathlib.Path, size: int, cores: int, what: str) -> Batches:
    """DALI's CPU operators; the flip is part of its one affine map."""
    from nvidia.dali import fn
    from nvidia.dali import pipeline_def
    from nvidia.dali import tfrecord
    from nvidia.dali import types

    files = _files(folder)

    def unpacked(bits):
        planes = []
        for k in range(8):
            weight = types.Constant(np.uint8(128 >> k))
            planes.append((bits & weight) // weight)
        pixels = fn.cast(fn.stack(*planes, axis=1), dtype=types.UINT8)
        return fn.reshape(pixels, shape=[size, size, 1], layout="HWC")

    def random_matrix():
        zoom = fn.random.uniform(range=(0.9, 1.1))
        mirror = 1 - 2 * fn.random.coin_flip()
        centre = [size / 2, size / 2]
        return fn.transforms.combine(
            fn.transforms.scale(scale=fn.stack(zoom * mirror, zoom), center=centre),
            fn.transforms.rotation(
                angle=fn.random.uniform(range=(-_DEGREES, _DEGREES)), center=centre
            ),
            fn.transforms.translation(
                offset=fn.random.uniform(
                    range=(-_SHIFT * size, _SHIFT * size), shape=[2]
                )
            ),
        )

    @pipeline_def(batch_size=BATCH, num_threads=cores, device_id=None, seed=1)
    def pipeline():
        text = tfrecord.FixedLenFeature((), tfrecord.string, "")
        read = fn.readers.tfrecord(
            path=[str(f) for f in files],
            index_path=[str(_index(f)) for f in files],
            features={"image/pixels": text, "mask/bits": text},
            # A shuffle buffer would mix the first epoch with the second.
            random_shuffle=what == RECIPE,
            initial_fill=256,
        )
        image = fn.reshape(read["image/pixels"], shape=[size, size, 1], layout="HWC")
        mask = unpacked(read["mask/bits"])
        if what == MIRRORED:
            image, mask = fn.flip(image), fn.flip(mask)
        if what == RECIPE:
            image = fn.brightness_contrast(
                image,
                brightness=fn.random.uniform(range=(0.8, 1.2)),
                contrast=fn.random.uniform(range=(0.8, 1.2)),
            )
            matrix = random_matrix()
            image = fn.warp_affine(image, matrix=matrix)
            nearest = types.DALIInterpType.INTERP_NN
            mask = fn.warp_affine(mask, matrix=matrix, interp_type=nearest)
        return image, mask

    built = pipeline()
    built.build()
    while True:
        yield tuple(np.array(part.as_tensor()) for part in built.run())


class _Records:
    """Random access to the records by index, as a grain data source."""

    def __init__(self, folder: pathlib.Path, size: int):
        self._size = size
        self._places = [
            (str(path), start) for path in _files(folder) for start in _ends(path)
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number) -> tuple[np.ndarray, np.ndarray]:
        path, (start, end) = self._places[number]
        with open(path, "rb", buffering=0) as file:
            file.seek(start + 12)
            record = schema.parse(file.read(end - start - 16))
        pixels = np.frombuffer(record.pixels, np.uint8)
        image = pixels.reshape(self._size, self._size)
        return image, schema.unpack_mask(record.mask_bits, self._size)


def grain(folder: pathlib.Path, size: int, cores: int, what: str) -> Batches:
    """grain with one process per core; it has no image ops, so OpenCV's are used."""
    from absl import flags
    from grain import python as library

    flags.FLAGS(["benchmark"])
    data = library.MapDataset.source(_Records(folder, size)).seed(1).shuffle()
    data = data.repeat()
    if what == MIRRORED:
        data = data.map(_mirrored)
    if what == RECIPE:
        data = data.random_map(_augmented)
    data = data.map(_with_channel).batch(BATCH).to_iter_dataset()
    workers = library.MultiprocessingOptions(
        num_workers=cores, per_worker_buffer_size=2
    )
    yield from data.mp_prefetch(workers)


def _mirrored(pair):
    return tuple(part[:, ::-1] for part in pair)


def _with_channel(pair):
    return tuple(np.ascontiguousarray(part)[..., np.newaxis] for part in pair)


def _augmented(pair, rng: np.random.Generator):
    """Applies the recipe with OpenCV; a table of 256 values maps intensities."""
    cv2.setNumThreads(1)
    image, mask = pair
    size = len(image)
    mean = image.mean()
    levels = np.arange(256, dtype=np.float32)
    contrast, brightness = rng.uniform(0.8, 1.2), rng.uniform(-0.2, 0.2)
    table = (levels - mean) * contrast + mean + brightness * mean
    image = cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8))
    centre = ((size - 1) / 2, (size - 1) / 2)
    matrix = cv2.getRotationMatrix2D(
        centre, rng.uniform(-_DEGREES, _DEGREES), rng.uniform(0.9, 1.1)
    )
    matrix[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) * size
    if rng.random() < 0.5:
        matrix = matrix @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1.0]])
    border = {"borderMode": cv2.BORDER_REFLECT_101}
    image = cv2.warpAffine(image, matrix, (size, size), **border)
    nearest = cv2.INTER_NEAREST
    return image, cv2.warpAffine(mask, matrix, (size, size), flags=nearest, **border)


SIDES: dict[str, Callable[..., Batches]] = {OURS: ours, DALI: dali, GRAIN: grain}


def digests(batches: Batches, count: int) -> np.ndarray:
    """Returns the sorted digests of each image with its mask, [count] strings."""
    found = []
    for images, masks in itertools.islice(batches, count // BATCH):
        for image, mask in zip(images, masks, strict=True):
            digest = hashlib.sha256(image.tobytes() + mask.tobytes())
            found.append(digest.hexdigest())
    return np.array(sorted(found))


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("*.tfrecord"))


def _ends(path: pathlib.Path) -> list[tuple[int, int]]:
    starts = shards.offsets(path)
    return list(zip(starts, [*starts[1:], path.stat().st_size], strict=True))


def _index(path: pathlib.Path) -> pathlib.Path:
    """Writes the index of record offsets that DALI's reader needs."""
    index = path.with_suffix(".index")
    index.write_text("".join(f"{a} {b - a}\n" for a, b in _ends(path)))
    return index


def shards_of(folder: pathlib.Path) -> list[shards.Shard]:
    """Returns the shards that describe a folder's record files."""
    # Imported here, because it imports TensorFlow, which no peer should load.
    from tests.benchmarks.cases import reading

    return [reading.shard(path) for path in _files(folder)]


def main() -> None:
    side, folder, size, cores = sys.argv[1:]
    make = functools.partial(SIDES[side], pathlib.Path(folder), int(size), int(cores))
    count = sum(len(shards.offsets(f)) for f in _files(pathlib.Path(folder)))

    def side_of_recipe():
        batches = make(RECIPE)

        def work():
            for _ in range(_BATCHES):
                next(batches)

        return work, lambda: {w: digests(make(w), count) for w in (STORED, MIRRORED)}

    worker.serve(side_of_recipe, {"images": BATCH * _BATCHES})


if __name__ == "__main__":
    main()
