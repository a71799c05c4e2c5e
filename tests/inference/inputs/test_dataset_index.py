import dataclasses

import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset.reading import DatasetReader
from inference.inputs.dataset_index import DatasetIndex


@pytest.fixture
def records(dataset):
    return {r.image_id: r for r in DatasetReader(dataset / "64").records()}


def test_looks_up_size_patient_and_pixels(dataset, records):
    index = DatasetIndex(dataset / "64", records.keys())
    pixels = index.pixels(records.keys())
    for image_id, record in records.items():
        assert index.size_of(image_id) == (128, 128)
        assert index.patient_of(image_id) == record.group
        np.testing.assert_array_equal(
            pixels[image_id].ravel(), np.frombuffer(record.pixels, np.uint8)
        )
    assert list(index.pixels([])) == []


def test_a_mask_is_placed_like_its_image(dataset, records):
    index = DatasetIndex(dataset / "64", list(records)[:1])
    mask = np.ones((4, 8), np.uint8)
    assert index.to_square(mask).sum(axis=1).tolist() == [0, 0, 8, 8, 8, 8, 0, 0]


def test_the_test_split_alone_lacks_training_images(dataset, records):
    training = [i for i, r in records.items() if r.fold >= 0]
    DatasetIndex(dataset / "64", training)
    with pytest.raises(CommandError, match="lacks 1 of the images, first .*; give the"):
        DatasetIndex(dataset / "64", training[:1], test_only=True)


def test_reading_stops_at_the_last_image(dataset, records, monkeypatch):
    """The images of the test split cost no pass over the training images."""
    seen = []
    read = DatasetReader.records

    def counted(self, chosen=None):
        for record in read(self, chosen):
            seen.append(record.image_id)
            yield record

    monkeypatch.setattr(DatasetReader, "records", counted)
    test = [i for i, r in records.items() if r.fold < 0]
    DatasetIndex(dataset / "64", test)
    assert sorted(seen) == sorted(test)


def test_refuses_damaged_pixels(dataset, records, monkeypatch):
    index = DatasetIndex(dataset / "64", records.keys())
    read = DatasetReader.records

    def damaged(self, chosen=None):
        for record in read(self, chosen):
            yield dataclasses.replace(record, pixels=record.pixels[:3])

    monkeypatch.setattr(DatasetReader, "records", damaged)
    with pytest.raises(CommandError, match="is damaged: .*; delete") as e:
        index.pixels(list(records)[:1])
    assert e.value.exit_code == ExitCode.CORRUPT
