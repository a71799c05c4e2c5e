import hashlib

import numpy as np
import pytest
import tensorflow as tf

from data_prep.dataset import schema

RECORD = schema.Record(
    image_id="1.2.3",
    pixels=bytes(range(256)) * 4,
    source_height=1024,
    source_width=1000,
    mask_bits=bytes(128),
    label=1,
    fold=2,
    group="abc",
)
TEST_RECORD = schema.Record(
    **{**RECORD.__dict__, "mask_bits": None, "label": -1, "fold": -1}
)


@pytest.mark.parametrize("record", [RECORD, TEST_RECORD], ids=["train", "test"])
def test_tensorflow_reads_the_same(record):
    example = tf.train.Example.FromString(schema.serialize(record))
    feature = example.features.feature
    assert set(feature) == set(schema.FIELDS) - (
        {"mask/bits"} if record.mask_bits is None else set()
    )
    assert feature["image/id"].bytes_list.value[0] == b"1.2.3"
    assert feature["image/pixels"].bytes_list.value[0] == record.pixels
    assert feature["image/source_width"].int64_list.value[0] == 1000
    assert feature["label"].int64_list.value[0] == record.label
    assert schema.parse(example.SerializeToString()) == record


def test_bytes_are_stable():
    """The bytes must never change: conversions are resumed and compared by bytes."""
    digests = [
        hashlib.sha256(schema.serialize(record)).hexdigest()[:16]
        for record in (RECORD, TEST_RECORD)
    ]
    assert digests == ["bcd187621c81b425", "86d5e618f3445d9a"]


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff"])
def test_no_record(data):
    with pytest.raises(ValueError, match="Expected"):
        schema.parse(data)


def test_mask_bits():
    mask = np.random.default_rng(0).integers(0, 2, (16, 16), np.uint8)
    bits = schema.pack_mask(mask)
    assert len(bits) == 32
    np.testing.assert_array_equal(schema.unpack_mask(bits, 16), mask)
