import pytest
import tensorflow as tf
from tensorflow.python.ops import gen_dataset_ops

from inference.inputs import chunks
from inference.inputs import datasets


def test_the_end_of_a_dataset_is_no_error_of_tensorflow(dataset, monkeypatch):
    # Another thread's op on another device may be given an error that this one meets.
    def refused(*_, **__):
        pytest.fail("an op was run that ends with an error")

    for name in ("iterator_get_next", "iterator_get_next_sync"):
        monkeypatch.setattr(gen_dataset_ops, name, refused)
    with pytest.raises(pytest.fail.Exception):
        next(tf.data.Dataset.range(1).as_numpy_iterator())
    found = datasets.find([dataset / "32"])
    shards = datasets.shards_of(found, [0, 1])
    planned = [chunk for of_shard in chunks.plan(shards[0]) for chunk in of_shard]
    read = dict(chunks.read(found, shards, [False] * len(planned)))
    assert list(read) == [chunk.index for chunk in planned]
    assert [len(c.ids) for c in read.values()] == [c.num_images for c in planned]
