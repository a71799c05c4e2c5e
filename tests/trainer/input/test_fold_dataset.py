"""The files that a FoldDataset chooses, and the errors that it raises."""

import dataclasses
import itertools
import shutil
import socket

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset import schema
from data_prep.dataset import shards
from tests import fakes
from trainer.augment import recipe
from trainer.input.fold_dataset import FoldDataset

NONE = recipe.parse("none")


@pytest.fixture
def folder(dataset):
    return dataset / "32"


def without(folder, tmp_path, label):
    """Returns a copy of the dataset that lacks one class."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    stored = manifest.read(copy)
    left = tuple(s for s in stored.shards if s.label != label)
    manifest.write(copy, dataclasses.replace(stored, shards=left))
    return copy


@pytest.mark.slow
def test_positives_are_chosen_by_file(folder, tmp_path):
    """The files of negatives are not even opened: the test deletes them."""
    data = FoldDataset(fakes.train_config(sampling="positives"), folder)
    assert {s.label for s in data.train_shards} == {1}
    assert {s.fold for s in data.train_shards} == {1, 2}
    copy = shutil.copytree(folder, tmp_path / "copy")
    data = FoldDataset(fakes.train_config(sampling="positives"), copy)
    for shard in data.manifest.shards:
        if shard.label != 1:
            (copy / shard.name).unlink()
    batches = data.training(NONE, 0).as_numpy_iterator()
    labels = [x for b in itertools.islice(batches, 9) for x in b["label"]]
    assert labels == [1] * 36


@pytest.mark.parametrize("sampling", ["natural", "positive_fraction(0.8:0.4)"])
def test_validation_holds_all_images_of_its_fold(folder, sampling):
    data = FoldDataset(fakes.train_config(sampling=sampling), folder)
    assert {s.label for s in data.validation_shards} == {0, 1}
    assert data.steps_per_epoch == data.num_train // 4


@pytest.mark.parametrize("sampling", ["positives", "positive_fraction(0.5)"])
def test_no_positives(folder, tmp_path, sampling):
    copy = without(folder, tmp_path, 1)
    with pytest.raises(CommandError, match=r"folds \[1, 2\] hold no image with a") as e:
        FoldDataset(fakes.train_config(sampling=sampling), copy)
    assert e.value.exit_code == ExitCode.FLAGS
    assert "give --sampling=natural" in str(e.value)
    assert FoldDataset(fakes.train_config(), copy).num_train


def test_no_negatives(folder, tmp_path):
    copy = without(folder, tmp_path, 0)
    with pytest.raises(CommandError, match=r"folds \[1, 2\] hold no image without a"):
        FoldDataset(fakes.train_config(sampling="positive_fraction(0.5)"), copy)


def test_too_few_for_a_batch(folder):
    with pytest.raises(CommandError, match="choose a smaller --global_batch_size") as e:
        FoldDataset(fakes.train_config(global_batch_size=64), folder)
    assert e.value.exit_code == ExitCode.FLAGS


def test_a_shard_of_another_length(folder, tmp_path):
    """The file is cut between two records, so that the remaining records are valid."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    data = FoldDataset(fakes.train_config(), copy)
    shard = data.train_shards[0]
    path = copy / shard.name
    record = path.stat().st_size // shard.num_records
    path.write_bytes(path.read_bytes()[: record * (shard.num_records - 1)])
    with pytest.raises(CommandError, match=shard.name) as e:
        data.training(NONE, 0)
    assert e.value.exit_code == ExitCode.CORRUPT


@pytest.mark.slow
def test_the_cache_changes_nothing(folder):
    def labels(**options):
        config = fakes.train_config(sampling="positive_fraction(0.8:0.4)")
        data = FoldDataset(config, folder, **options)
        batches = data.training(NONE, 3).as_numpy_iterator()
        return [b["image"].tobytes() for b in itertools.islice(batches, 8)]

    assert labels(cache="memory") == labels()


def test_nobody_serves(folder):
    with socket.create_server(("localhost", 0)) as free:
        address = f"grpc://localhost:{free.getsockname()[1]}"
    data = FoldDataset(fakes.train_config(), folder, data_service=address)
    with pytest.raises(
        CommandError, match=f"no tf.data service answers at {address}"
    ) as e:
        data.training(NONE, 0)
    assert e.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data_service": "localhost:1"}, "Expected data_service as grpc://host:port"),
        ({"data_service": "grpc://h:1", "cache": "memory"}, "Expected cache=none"),
    ],
)
def test_bad_executions(tmp_path, changes, said):
    sound = fakes.execution(tmp_path, tmp_path)
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(sound, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 11])
def test_the_images_of_a_step_are_named(folder, step):
    data = FoldDataset(fakes.train_config(), folder)
    records = {}
    for shard in data.train_shards:
        for serialized in shards.read(folder / shard.name):
            record = schema.parse(serialized)
            records[record.image_id] = record.pixels
    batch = next(data.training(NONE, step).as_numpy_iterator())
    ids = data.image_ids(step)
    assert [records[i] for i in ids] == [image.tobytes() for image in batch["image"]]


@pytest.mark.parametrize("changes", [{}, {"swa_epochs": 0}])
def test_what_is_read_in_the_end_is_checked_at_the_start(folder, tmp_path, changes):
    """The guard reads all training images, of a run on positives, too."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = fakes.train_config(sampling="positives", **changes)
    data = FoldDataset(config, copy)
    data.check()
    (shard, *_) = (s for s in data.natural().train_shards if s.label == 0)
    (copy / shard.name).write_bytes(b"damaged")
    with pytest.raises(CommandError, match=shard.name):
        data.check()
