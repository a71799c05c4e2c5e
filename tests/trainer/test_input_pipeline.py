import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf

from data_prep import manifest
from data_prep import schema
from data_prep import shards
from trainer import input_pipeline
from trainer.augment import recipe
from trainer.records import Decoder

SIZE = 32
NONE = recipe.parse("none")


def decoder(with_mask=True):
    return Decoder(image_size=SIZE, pixel_encoding="raw", with_mask=with_mask)


@pytest.fixture
def files(dataset):
    folder = dataset / str(SIZE)
    chosen = manifest.read(folder).train_shards([0, 1])
    return [folder / s.name for s in chosen], sum(s.num_records for s in chosen)


@pytest.fixture
def stored(files):
    return {
        schema.parse(r).pixels: schema.parse(r)
        for f in files[0]
        for r in shards.read(f)
    }


def training(files, augment=NONE, first_step=0, seed=7, batch_size=4, buffer=6):
    return input_pipeline.for_training(
        files[0],
        decoder(),
        augment,
        num_records=files[1],
        batch_size=batch_size,
        shuffle_buffer=buffer,
        seed=seed,
        first_step=first_step,
    )


def pixels(data, num_batches):
    return [
        image.tobytes()
        for batch in itertools.islice(data.as_numpy_iterator(), num_batches)
        for image in batch["image"]
    ]


def test_decodes_what_was_written(files, stored):
    for batch in itertools.islice(training(files).as_numpy_iterator(), 3):
        for image, mask, label in zip(*batch.values(), strict=True):
            record = stored[image.tobytes()]
            expected = schema.unpack_mask(record.mask_bits, SIZE)
            np.testing.assert_array_equal(mask[..., 0], expected)
            assert label == record.label


def test_png_decodes_to_the_same(files, stored):
    import cv2

    record = next(iter(stored.values()))
    image = np.frombuffer(record.pixels, np.uint8).reshape(SIZE, SIZE)
    encoded = cv2.imencode(".png", image)[1].tobytes()
    png = schema.Record(**{**record.__dict__, "pixels": encoded})
    decode = Decoder(image_size=SIZE, pixel_encoding="png", with_mask=True)
    batch = decode(tf.constant([schema.serialize(png)] * 2))
    np.testing.assert_array_equal(batch["image"][1, ..., 0], image)


def test_every_epoch_holds_each_record_once_in_another_order(files, stored):
    count = files[1]
    seen = pixels(training(files, batch_size=1), 2 * count)
    first, second = seen[:count], seen[count:]
    assert sorted(first) == sorted(second) == sorted(stored)
    assert first != second


def test_batches_run_on_across_an_epoch(files, stored):
    count = files[1]
    assert count % 4
    num_batches = 4 * count // 4  # Four epochs exactly.
    seen = collections.Counter(pixels(training(files), num_batches))
    assert set(seen.values()) == {4}
    assert seen.keys() == stored.keys()


@pytest.mark.parametrize("augment", ["none", "seed_segmentation"])
@pytest.mark.parametrize("first_step", [1, 5, 11])
def test_any_step_can_be_the_first(files, augment, first_step):
    augment = recipe.parse(augment)
    whole = pixels(training(files, augment), first_step + 3)
    assert pixels(training(files, augment, first_step), 3) == whole[-12:]


def test_order_depends_on_the_seed_alone(files):
    assert pixels(training(files), 5) == pixels(training(files), 5)
    assert pixels(training(files, seed=8), 5) != pixels(training(files), 5)


def test_augmentation_differs_from_step_to_step(files):
    same = training((files[0][:1], 1), recipe.parse("rotation(90)"), batch_size=1)
    assert len(set(pixels(same, 4))) > 1


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_evaluation_holds_each_record_once_and_fills_up(files, stored, batch_size):
    data = input_pipeline.for_evaluation(
        files[0], decoder(), num_records=files[1], batch_size=batch_size
    )
    seen = []
    for batch in data.as_numpy_iterator():
        assert len(batch["image"]) == batch_size
        seen += [i.decode() for i in batch["id"][batch["valid"]]]
    in_files = [r.image_id for r in stored.values()]
    assert seen == in_files


def test_test_records_have_no_mask(dataset):
    folder = dataset / str(SIZE)
    shard = manifest.read(folder).test_shards()
    data = input_pipeline.for_evaluation(
        [folder / s.name for s in shard],
        decoder(with_mask=False),
        num_records=7,
        batch_size=4,
    )
    batches = list(data.as_numpy_iterator())
    assert "mask" not in batches[0]
    assert [int(b["valid"].sum()) for b in batches] == [4, 3]
