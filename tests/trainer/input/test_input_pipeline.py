"""Contents of batches, which are a function of (seed, step) alone."""

import collections
import itertools
import time

import numpy as np
import pytest
import tensorflow as tf

from data_prep.dataset import manifest
from data_prep.dataset import schema
from data_prep.dataset import shards
from trainer.augment import recipe
from trainer.input import input_pipeline
from trainer.input import sampling
from trainer.input.record_store import CachedSource
from trainer.input.record_store import RandomAccessSource
from trainer.input.records import Decoder

SIZE = 32
BATCH_SIZE = 4
EPOCHS = 3
SAMPLINGS = ["natural", "positives", "positive_fraction(0.75:0.25)"]
NONE = recipe.parse("none")


def decoder(with_mask=True):
    return Decoder(image_size=SIZE, pixel_encoding="raw", with_mask=with_mask)


class Data:
    """The train shards of two folds."""

    def __init__(self, folder):
        self.shards = manifest.read(folder).train_shards([0, 1])
        self.files = [folder / s.name for s in self.shards]
        self.records = [schema.parse(r) for f in self.files for r in shards.read(f)]
        self.by_pixels = {r.pixels: r for r in self.records}
        self.on_disk = RandomAccessSource(folder, self.shards, decoder())

    def order(self, text="natural", *, batch_size=BATCH_SIZE, seed=7):
        labels = np.array([r.label for r in self.records])
        return sampling.parse(text).order(
            sampling.Request(
                positives=np.flatnonzero(labels == 1),
                negatives=np.flatnonzero(labels == 0),
                epochs=EPOCHS,
                batch_size=batch_size,
                seed=seed,
            )
        )

    def training(self, text="natural", *, augment=NONE, store=None, **options):
        sizes = {"batch_size": BATCH_SIZE, "seed": 7}
        order = self.order(text, **(sizes | _chosen(options, sizes)))
        store = store or self.on_disk
        return input_pipeline.for_training(order, store, augment, **(sizes | options))


def _chosen(options, keys):
    return {k: v for k, v in options.items() if k in keys}


@pytest.fixture(scope="module")
def data(dataset):
    return Data(dataset / str(SIZE))


def contents(batches, count):
    """Returns the bytes of each image and mask of the first `count` batches."""
    return [
        (image.tobytes(), mask.tobytes())
        for batch in itertools.islice(batches.as_numpy_iterator(), count)
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
    ]


def pixels(batches, count):
    return [image for image, _ in contents(batches, count)]


@pytest.mark.slow
def test_decodes_what_was_written(data):
    for batch in itertools.islice(data.training().as_numpy_iterator(), 3):
        for image, mask, label in zip(*batch.values(), strict=True):
            record = data.by_pixels[image.tobytes()]
            expected = schema.unpack_mask(record.mask_bits, SIZE)
            np.testing.assert_array_equal(mask[..., 0], expected)
            assert label == record.label


def test_png_decodes_to_the_same(data):
    import cv2

    record = data.records[0]
    image = np.frombuffer(record.pixels, np.uint8).reshape(SIZE, SIZE)
    encoded = cv2.imencode(".png", image)[1].tobytes()
    png = schema.Record(**{**record.__dict__, "pixels": encoded})
    decode = Decoder(image_size=SIZE, pixel_encoding="png", with_mask=True)
    batch = decode(tf.constant([schema.serialize(png)] * 2))
    np.testing.assert_array_equal(batch["image"][1, ..., 0], image)


def test_every_pass_holds_each_record_once_in_another_order(data):
    count = len(data.records)
    seen = pixels(data.training(batch_size=1), 2 * count)
    first, second = seen[:count], seen[count:]
    assert sorted(first) == sorted(second) == sorted(data.by_pixels)
    assert first != second


def test_batches_run_on_across_a_pass(data):
    count = len(data.records)
    assert count % BATCH_SIZE
    seen = collections.Counter(pixels(data.training(), count))
    assert set(seen.values()) == {BATCH_SIZE}
    assert seen.keys() == data.by_pixels.keys()


@pytest.mark.slow
@pytest.mark.parametrize("sampled", SAMPLINGS)
def test_any_step_can_be_the_first(data, sampled):
    augment = recipe.parse("hflip(p=0.5)|gamma(0.8, 1.2)")
    steps = data.order(sampled).steps_per_epoch
    whole = contents(data.training(sampled, augment=augment), 3 * steps + 3)
    for first in (1, steps - 1, steps, 2 * steps + 1, 3 * steps):
        resumed = data.training(sampled, augment=augment, first_step=first)
        at = first * BATCH_SIZE
        assert contents(resumed, 3) == whole[at : at + 3 * BATCH_SIZE]


def test_a_late_start_reads_nothing_before_it(data):
    decoded = []

    class Counted:
        read = data.on_disk.read

        def decode(self, read):
            count = [tf.numpy_function(decoded.extend, [read], [])]
            with tf.control_dependencies(count):
                return data.on_disk.decode(tf.identity(read))

    far = 10**12
    batches = data.training(store=Counted(), first_step=far, num_parallel_calls=1)
    delivered = pixels(batches, 20)
    decoded = [schema.parse(record).pixels for record in decoded]
    # Nothing is read beyond the delivered and the prefetched batches.
    assert decoded[: len(delivered)] == delivered
    assert len(decoded) <= len(delivered) + 4 * BATCH_SIZE


@pytest.mark.slow
@pytest.mark.parametrize("sampled", SAMPLINGS)
def test_nothing_else_decides_the_batches(data, sampled):
    expected = contents(data.training(sampled, num_parallel_calls=1), 12)
    assert contents(data.training(sampled, num_parallel_calls=4), 12) == expected
    held = CachedSource(data.on_disk, decoder())
    assert contents(data.training(sampled, store=held), 12) == expected
    tf.random.set_seed(5)
    assert contents(data.training(sampled), 12) == expected
    assert contents(data.training(sampled, seed=8), 12) != expected


@pytest.mark.slow
@pytest.mark.parametrize("in_memory", [False, True])
def test_replicas_share_each_batch(data, in_memory):
    store = CachedSource(data.on_disk, decoder()) if in_memory else data.on_disk
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    batches = data.training(SAMPLINGS[-1], store=store)
    seen = []
    shared = strategy.experimental_distribute_dataset(batches)
    for batch in itertools.islice(shared, 6):
        parts = strategy.experimental_local_results(batch["image"])
        assert [len(p) for p in parts] == [BATCH_SIZE // 2] * 2
        seen += [image.tobytes() for part in parts for image in part.numpy()]
    assert seen == pixels(batches, 6)


@pytest.fixture
def service():
    dispatcher = tf.data.experimental.service.DispatchServer()
    workers = []

    def start():
        config = tf.data.experimental.service.WorkerConfig(
            dispatcher_address=dispatcher.target.split("://")[1]
        )
        workers.append(tf.data.experimental.service.WorkerServer(config))
        return dispatcher.target

    yield start
    for server in (*workers, dispatcher):
        server._stop()


@pytest.mark.slow
@pytest.mark.parametrize("first_step", [0, 7])
def test_a_service_makes_the_same_batches(data, service, first_step):
    address = service()
    for sampled in SAMPLINGS:
        options = {"first_step": first_step, "augment": recipe.parse("hflip(p=0.5)")}
        local = contents(data.training(sampled, **options), 8)
        served = data.training(sampled, data_service=address, **options)
        assert contents(served, 8) == local


def test_a_service_of_two_workers_is_refused(data, service):
    """The second worker's first batch raises; earlier batches are right."""
    service()
    expected = data.training().as_numpy_iterator()
    served = data.training(data_service=service()).as_numpy_iterator()

    def compare(seconds):
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            np.testing.assert_equal(next(served), next(expected))

    with pytest.raises(tf.errors.InvalidArgumentError, match="exactly one worker"):
        compare(60)


def test_augmentation_differs_from_step_to_step(data):
    class FirstAlone:
        decode = data.on_disk.decode

        def read(self, numbers):
            return data.on_disk.read(tf.zeros_like(numbers))

    turned = data.training(
        store=FirstAlone(), augment=recipe.parse("rotation(90)"), batch_size=1
    )
    assert len(set(pixels(turned, 4))) > 1


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_evaluation_holds_each_record_once_and_fills_up(data, batch_size):
    batches = input_pipeline.for_evaluation(
        data.files, decoder(), num_records=len(data.records), batch_size=batch_size
    )
    seen = []
    for batch in batches.as_numpy_iterator():
        assert len(batch["image"]) == batch_size
        seen += [i.decode() for i in batch["id"][batch["valid"]]]
    assert seen == [r.image_id for r in data.records]


def test_test_records_have_no_mask(dataset):
    folder = dataset / str(SIZE)
    shard = manifest.read(folder).test_shards()
    batches = input_pipeline.for_evaluation(
        [folder / s.name for s in shard],
        decoder(with_mask=False),
        num_records=7,
        batch_size=4,
    )
    batches = list(batches)
    assert "mask" not in batches[0]
    assert [int(tf.math.count_nonzero(b["valid"])) for b in batches] == [4, 3]
