import dataclasses

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset.reading import DatasetReader


@pytest.fixture
def reader(dataset):
    return DatasetReader(dataset / "64")


@pytest.fixture
def parsed(monkeypatch):
    """The ids of the records that were parsed since the fixture was set up."""
    image_ids = []
    parse = schema.parse

    def counted(serialized):
        record = parse(serialized)
        image_ids.append(record.image_id)
        return record

    monkeypatch.setattr(schema, "parse", counted)
    return image_ids


def serialized_records(folder, data):
    return [r for shard in data.shards for r in shards.read(folder / shard.name)]


def test_records_are_those_of_the_files_in_their_order(reader):
    records = list(reader.records())
    assert len(records) == 37
    assert [schema.serialize(r) for r in records] == serialized_records(
        reader.folder, reader.manifest
    )
    assert [r.fold for r in records] == sorted(r.fold for r in records)
    test_records = list(reader.records(reader.manifest.test_shards()))
    assert test_records == records[:7]


def test_a_manifest_that_the_caller_has_is_not_read_again(reader, monkeypatch):
    monkeypatch.delattr(manifests, "read")
    assert DatasetReader(reader.folder, reader.manifest).manifest is reader.manifest


def test_pixels_are_decoded(reader):
    for record in reader.records():
        image = reader.pixels(record)
        assert (image.shape, image.dtype) == ((64, 64), "uint8")
        assert image.tobytes() == record.pixels


def test_images_are_found_and_reading_stops_at_the_last(reader, parsed):
    test_ids = {r.image_id for r in reader.records(reader.manifest.test_shards())}
    parsed.clear()
    assert {r.image_id for r in reader.find(test_ids)} == test_ids
    assert len(parsed) == len(test_ids) == 7
    train_id = next(reader.records(reader.manifest.train_shards([2]))).image_id
    wanted = [train_id, *sorted(test_ids)[:2]]
    assert {r.image_id for r in reader.find(wanted)} == set(wanted)
    parsed.clear()
    assert list(reader.find([])) == []
    assert not parsed


def test_missing_images_are_named_after_those_found(reader):
    test_shards = reader.manifest.test_shards()
    train_id = next(reader.records(reader.manifest.train_shards([0]))).image_id
    test_id = next(reader.records(test_shards)).image_id
    records = reader.find([train_id, test_id, "no-such"], test_shards)
    assert next(records).image_id == test_id
    message = f"64 lacks 2 of the images, first {train_id}; give the dataset that"
    with pytest.raises(CommandError, match=message) as e:
        next(records)
    assert e.value.exit_code == ExitCode.FLAGS
    with pytest.raises(CommandError, match="lacks 1 .* no-such; do so") as e:
        list(reader.find(["no-such"], fix="do so", exit_code=ExitCode.CORRUPT))
    assert e.value.exit_code == ExitCode.CORRUPT


def test_damaged_pixels(reader):
    record = next(reader.records())
    cut = dataclasses.replace(record, pixels=record.pixels[:3])
    message = (
        rf"image {record.image_id} in .*64 is damaged: 3 bytes of pixels instead of "
        "4096; delete the dataset folder and convert again"
    )
    with pytest.raises(CommandError, match=message) as e:
        reader.pixels(cut)
    assert e.value.exit_code == ExitCode.CORRUPT


def test_a_record_of_another_schema(reader, tmp_path):
    shard = reader.manifest.test_shards()[0]
    shards.write(tmp_path / shard.name, [b""])
    other = DatasetReader(tmp_path, reader.manifest)
    with pytest.raises(CommandError, match="of another schema; delete") as e:
        next(other.records([shard]))
    assert e.value.exit_code == ExitCode.CORRUPT


def test_no_dataset(tmp_path):
    with pytest.raises(CommandError, match=r"no dataset.json in"):
        DatasetReader(tmp_path)
