import pytest
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.dataset import shards

RECORDS = [b"first", b"", bytes(range(256)) * 7]


def test_tensorflow_reads_the_same(tmp_path):
    path = tmp_path / "x.tfrecord-00000-of-00001"
    count, num_bytes, digest = shards.write(path, RECORDS)
    read = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    assert read == RECORDS
    assert count == 3
    assert num_bytes == path.stat().st_size
    assert digest == durable.sha256(path)
    assert list(shards.read(path)) == RECORDS


def test_reads_what_tensorflow_writes(tmp_path):
    path = tmp_path / "x"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in RECORDS:
            writer.write(record)
    assert list(shards.read(path)) == RECORDS


def test_every_bit_flip_is_found(tmp_path):
    path = tmp_path / "x"
    shards.write(path, [b"ab", b"c"])
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CommandError, match=str(path)):
            list(shards.read(path))


def test_offsets_are_where_records_begin(tmp_path):
    path = tmp_path / "x"
    shards.write(path, RECORDS)
    offsets = shards.offsets(path)
    assert len(offsets) == len(RECORDS)
    for k, offset in enumerate(offsets):
        (tmp_path / "tail").write_bytes(path.read_bytes()[offset:])
        assert list(shards.read(tmp_path / "tail")) == RECORDS[k:]
    (tmp_path / "empty").touch()
    assert shards.offsets(tmp_path / "empty") == []


def test_offsets_of_a_cut_or_damaged_file(tmp_path):
    path = tmp_path / "x"
    shards.write(path, [b"ab", b"c"])
    data = path.read_bytes()
    border = shards.offsets(path)[1]
    for length in set(range(1, len(data))) - {border}:
        path.write_bytes(data[:length])
        with pytest.raises(CommandError, match=str(path)):
            shards.offsets(path)
    for bit in range(8 * 12):  # The first length and its checksum.
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CommandError, match=str(path)):
            shards.offsets(path)


def test_a_crash_leaves_nothing(tmp_path):
    def records():
        yield b"one"
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        shards.write(tmp_path / "x", records())
    assert not list(tmp_path.iterdir())


def test_plan_is_even_and_free_of_order():
    ids = [f"id{k}" for k in range(10)]
    parts = shards.split_evenly(ids, 4)
    assert [len(p) for p in parts] == [3, 3, 4]
    assert sorted(sum(parts, [])) == sorted(ids)
    assert shards.split_evenly(reversed(ids), 4) == parts
    # It must never change, because that would reshuffle every dataset.
    assert parts[0] == ["id3", "id0", "id2"]


def test_names():
    assert shards.prefix("train", 3, 1) == "train-fold3-positive"
    assert shards.prefix("train", 0, 0) == "train-fold0-negative"
    assert shards.prefix("test", -1, -1) == "test"
    assert shards.file_name("test", 1, 4) == "test.tfrecord-00001-of-00004"
