import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.view import inspection
from inference.evaluation.dataset_images import DatasetImages


@pytest.fixture
def records(dataset):
    folder = dataset / "64"
    found = inspection.records(folder, manifest.read(folder))
    return {r.image_id: r for r in found}


def test_facts_are_those_of_the_records(dataset, records):
    images = DatasetImages(dataset / "64", records.keys())
    pixels = images.pixels(records.keys())
    for image_id, record in records.items():
        assert images.size_of(image_id) == (128, 128)
        assert images.group_of(image_id) == record.group
        np.testing.assert_array_equal(
            pixels[image_id].ravel(), np.frombuffer(record.pixels, np.uint8)
        )
    assert list(images.pixels([])) == []


def test_a_mask_goes_where_its_image_went(dataset, records):
    images = DatasetImages(dataset / "64", list(records)[:1])
    mask = np.ones((4, 8), np.uint8)
    assert images.on_square(mask).sum(axis=1).tolist() == [0, 0, 8, 8, 8, 8, 0, 0]


def test_reading_ends_with_the_last_image(dataset, records, monkeypatch):
    seen = []
    read = inspection.records

    def counted(folder, data):
        for record in read(folder, data):
            seen.append(record.image_id)
            yield record

    monkeypatch.setattr(inspection, "records", counted)
    test = [i for i, r in records.items() if r.fold < 0]
    DatasetImages(dataset / "64", test)
    assert sorted(seen) == sorted(test)


def test_damaged_pixels(dataset, records, monkeypatch):
    images = DatasetImages(dataset / "64", records.keys())

    def damaged(record, data):
        raise ValueError("3 bytes of pixels instead of 4096")

    monkeypatch.setattr(inspection, "pixels", damaged)
    with pytest.raises(CommandError, match="is damaged: 3 bytes .*; delete") as e:
        images.pixels(list(records)[:1])
    assert e.value.exit_code == ExitCode.CORRUPT
