import dataclasses
import struct
import zlib

import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import schema
from data_prep.dataset import shards
from inference.prediction import probability_maps
from inference.prediction.probability_maps import ProbabilityMap


def a_map(image_id="a", **changes):
    rng = np.random.default_rng(len(image_id))
    fields = {
        "image_id": image_id,
        "values": rng.random((8, 8)).astype(np.float16),
        "source_height": 20,
        "source_width": 30,
        "fold": 2,
        "classifier": 0.1 + 0.2,
    }
    return ProbabilityMap(**(fields | changes))


def same(one, other):
    """Returns whether two maps are equal; == would compare arrays elementwise."""
    empty = np.zeros((1, 1), np.float16)
    fields = [
        dataclasses.asdict(dataclasses.replace(m, values=empty)) for m in (one, other)
    ]
    for row in fields:
        del row["values"]
    return fields[0] == fields[1] and np.array_equal(one.values, other.values)


def test_round_trip(tmp_path):
    extremes = np.array([[0, 1], [2**-24, 1 - 2**-11]], np.float16)
    maps = [
        a_map("a"),
        a_map("b.2", values=extremes, fold=-1, classifier=None),
        a_map("c", classifier=0.0),
    ]
    path = tmp_path / "deep" / "part-00000.tfrecord"
    probability_maps.write(path, maps)
    stored = list(probability_maps.read(path))
    assert [m.image_id for m in stored] == ["a", "b.2", "c"]
    assert all(map(same, stored, maps))
    assert stored[0].classifier == 0.30000000000000004
    first = path.read_bytes()
    probability_maps.write(path, maps)
    assert path.read_bytes() == first


def test_tensorflow_reads_it(tmp_path):
    import tensorflow as tf

    path = tmp_path / "part-00000.tfrecord"
    probability_maps.write(path, [a_map()])
    (record,) = tf.data.TFRecordDataset(str(path))
    features = tf.io.parse_single_example(
        record,
        {
            "map/values": tf.io.FixedLenFeature([], tf.string),
            "fold": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    assert features["fold"] == 2
    inflated = tf.io.decode_compressed(features["map/values"], "ZLIB")
    values = tf.reshape(tf.io.decode_raw(inflated, tf.float16), (8, 8))
    assert np.array_equal(values, a_map().values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.full((2, 2), np.nan, np.float16)}, "values in 0..1"),
        ({"values": np.full((2, 2), np.inf, np.float16)}, "values in 0..1"),
        ({"values": np.full((2, 2), -0.1, np.float16)}, "values in 0..1"),
        ({"values": np.zeros((0, 0), np.float16)}, "values in 0..1"),
        ({"values": np.zeros((2, 3), np.float16)}, r"\[S, S\] float16"),
        ({"values": np.zeros((2, 2), np.float32)}, r"\[S, S\] float16"),
        ({"source_width": 0}, "a source"),
        ({"fold": -2}, "fold -2"),
        ({"classifier": float("nan")}, "classifier"),
        ({"classifier": 1.5}, "classifier"),
        ({"image_id": "../x"}, "an image id"),
    ],
)
def test_refuses_invalid_values(changes, message):
    with pytest.raises(ConfigError, match=message):
        a_map(**changes)


def test_refuses_a_single_nan():
    values = np.zeros((8, 8), np.float16)
    values[3, 4] = np.nan
    with pytest.raises(ConfigError, match="values in 0..1"):
        a_map(values=values)


def test_detects_every_flipped_bit(tmp_path):
    path = tmp_path / "part-00000.tfrecord"
    probability_maps.write(path, [a_map()])
    whole = path.read_bytes()
    for k in range(len(whole)):
        damaged = bytearray(whole)
        damaged[k] ^= 1 << k % 8
        path.write_bytes(damaged)
        with pytest.raises(CommandError, match="part-00000") as e:
            list(probability_maps.read(path))
        assert e.value.exit_code == ExitCode.CORRUPT
        assert "convert" not in str(e.value)
    for length in (len(whole) - 1, len(whole) // 2, 5):
        path.write_bytes(whole[:length])
        with pytest.raises(CommandError, match="damaged record"):
            list(probability_maps.read(path))
    path.unlink()
    with pytest.raises(CommandError, match="part-00000.tfrecord is missing"):
        list(probability_maps.read(path))


def nan_values(features):
    packed = np.full(64, np.nan, np.float16).tobytes()
    features["map/values"].bytes_list.value[:] = [zlib.compress(packed)]


def bomb(features):
    features["map/values"].bytes_list.value[:] = [zlib.compress(bytes(10**7))]


def short(features):
    features["map/values"].bytes_list.value[:] = [zlib.compress(bytes(10))]


def no_zlib(features):
    features["map/values"].bytes_list.value[:] = [b"x"]


def no_fold(features):
    del features["fold"]


def classifier_nan(features):
    features["classifier"].bytes_list.value[:] = [struct.pack("<d", np.nan)]


def classifier_text(features):
    features["classifier"].bytes_list.value[:] = [b"0.5"]


def huge(features):
    features["map/size"].int64_list.value[:] = [2**40]


@pytest.mark.parametrize(
    "change",
    [
        nan_values,
        bomb,
        short,
        no_zlib,
        no_fold,
        classifier_nan,
        classifier_text,
        huge,
    ],
)
def test_foreign_records_are_refused(tmp_path, change):
    path = tmp_path / "part-00000.tfrecord"
    probability_maps.write(path, [a_map()])
    example = schema.example_class().FromString(next(shards.read(path)))
    change(example.features.feature)
    shards.write(path, [example.SerializeToString()])
    with pytest.raises(CommandError, match="part-00000.*damaged record.*predict again"):
        list(probability_maps.read(path))


def test_a_record_that_is_no_message_is_refused(tmp_path):
    path = tmp_path / "part-00000.tfrecord"
    shards.write(path, [b"\xff\xff"])
    with pytest.raises(CommandError, match="no tf.train.Example"):
        list(probability_maps.read(path))


def write_parts(folder, *parts):
    for k, ids in enumerate(parts):
        path = folder / "probabilities" / probability_maps.part_name(k)
        probability_maps.write(path, [a_map(i) for i in ids])
    probability_maps.seal(folder, {"split": "out_of_fold", "tta": ["hflip"]})


def test_folder(tmp_path):
    write_parts(tmp_path, "ab", "c")
    config, maps = probability_maps.read_folder(tmp_path)
    assert config == {"split": "out_of_fold", "tta": ["hflip"]}
    assert [m.image_id for m in maps] == ["a", "b", "c"]


def test_an_image_twice_is_refused(tmp_path):
    write_parts(tmp_path, "ab", "ca")
    _, maps = probability_maps.read_folder(tmp_path)
    with pytest.raises(CommandError, match="part-00001.* image a a second time"):
        list(maps)


def test_another_part_than_was_sealed_is_refused(tmp_path):
    write_parts(tmp_path, "ab", "c")
    probability_maps.write(
        tmp_path / "probabilities" / probability_maps.part_name(1), [a_map("d")]
    )
    _, maps = probability_maps.read_folder(tmp_path)
    with pytest.raises(CommandError, match="part-00001.*does not match"):
        list(maps)


def test_an_unfinished_folder_is_refused(tmp_path):
    with pytest.raises(CommandError, match="no prediction.json.*finished prediction"):
        probability_maps.read_folder(tmp_path)
    (tmp_path / "prediction.json").write_text("{}")
    with pytest.raises(CommandError, match="its own sha256"):
        probability_maps.read_folder(tmp_path)
    # A prediction without probability maps.
    durable.write_json(tmp_path / "prediction.json", {"config": {}, "images": 3})
    with pytest.raises(CommandError, match="lists no probability maps"):
        probability_maps.read_folder(tmp_path)
