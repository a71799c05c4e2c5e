import io

import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests import fakes
from tests.inference.finished_runs import POOLED
from tests.inference.finished_runs import member
from trainer.guard import describe
from trainer.guard import description
from trainer.guard import features
from trainer.guard import taps
from trainer.input.fold_dataset import FoldDataset
from trainer.models import registry
from trainer.run import run_folder


def groups(rng, count):
    sizes = features.SIZES | {"encoder:swa": 12}
    return {g: rng.normal(size=(count, size)) for g, size in sizes.items()}


@pytest.fixture
def described():
    rng = np.random.default_rng(0)
    return description.fit(64, groups(rng, 60), groups(rng, 30))


def rewritten(path, **changes):
    with np.load(path) as file:
        arrays = dict(file.items())
    for name, value in changes.items():
        name = name.replace("__", "/")
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value
    np.savez(path, **arrays)


def test_is_read_as_it_was_written(described, tmp_path):
    path = tmp_path / "guard.npz"
    path.write_bytes(described.to_bytes())
    again = description.read(path)
    assert again.to_bytes() == described.to_bytes()
    assert again.image_size == 64
    every = list(described.distances)
    assert again.limit(every, 0.999) == described.limit(every, 0.999) > 1
    # A score over fewer groups is no larger.
    assert again.limit(["grey"], 0.9) <= again.limit(every, 0.9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grey__mean": None}, "lacks grey/mean"),
        ({"version": None}, "lacks version"),
        ({"version": np.int64(9)}, "its version is not 1"),
        ({"features": np.int64(9)}, "its features is not 1"),
        ({"grey__mean": np.full(22, np.nan, np.float32)}, "finite"),
        ({"grey__rest": np.float32(0)}, "rest is not positive"),
        ({"grey__held_out": np.zeros(3, np.float32)}, "not of the same films"),
        ({"image_size": np.array("big")}, "finite"),
        ({"grey__mean": np.array([{}], dtype=object)}, "it has objects"),
    ],
)
def test_refuses_odd_files(described, tmp_path, changes, said):
    path = tmp_path / "guard.npz"
    path.write_bytes(described.to_bytes())
    rewritten(path, **changes)
    with pytest.raises(CommandError, match=said) as e:
        description.read(path)
    assert e.value.exit_code is ExitCode.CORRUPT
    assert "\n" not in str(e.value)


def test_refuses_what_is_no_archive_or_too_large(described, tmp_path, monkeypatch):
    path = tmp_path / "guard.npz"
    with pytest.raises(CommandError, match="is missing"):
        description.read(path)
    for data in (b"", b"PK\3\4", described.to_bytes()[:-100]):
        path.write_bytes(data)
        with pytest.raises(CommandError, match="no file of arrays"):
            description.read(path)
    path.write_bytes(described.to_bytes())
    monkeypatch.setattr(description, "_MOST_BYTES", 1000)
    with pytest.raises(CommandError, match="unpacks to over"):
        description.read(path)


def test_pickles_are_not_run(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, version=np.array([print], dtype=object))
    (tmp_path / "guard.npz").write_bytes(buffer.getvalue())
    with pytest.raises(CommandError, match="no file of arrays"):
        description.read(tmp_path / "guard.npz")


def test_a_run_describes_its_films_and_its_weights(dataset, tmp_path):
    for name in ("a", "b"):
        member(tmp_path / name, dataset / "32", 1, model=POOLED, described=True)
    run = run_folder.open_finished(tmp_path / "a")
    found = description.read(run.verified_guard())
    assert set(found.distances) == {*features.SIZES, "encoder:swa", "encoder:best"}
    data = FoldDataset(fakes.train_config(), dataset / "32")
    assert {len(h) for h in found.held_out.values()} == {data.num_validation}
    # The same run has the same bytes.
    other = run_folder.open_finished(tmp_path / "b")
    assert other.guard_sha256 == run.guard_sha256 is not None


def test_films_are_spread_over_the_dataset(monkeypatch):
    monkeypatch.setattr(describe, "MOST_FILMS", 4)
    assert describe.spread(3).tolist() == [0, 1, 2]
    assert describe.spread(10).tolist() == [0, 2, 5, 7]


@pytest.mark.parametrize(
    ("spec", "size"),
    [("tiny", None), (POOLED, 4), ("nested_unetpp(start_filters=2)", 32)],
)
def test_pooled_features_are_those_of_the_deepest_map(spec, size):
    model = registry.build_from_spec(spec, image_size=32)
    tapped = taps.tapped(model)
    if size is None:
        assert tapped is None
        return
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1))
    found = tapped(images.astype(np.float32), training=False)
    assert found[taps.POOLED].shape == (2, size)
    # An instance norm would make them equal for all images.
    assert np.ptp(found[taps.POOLED].numpy(), axis=0).max() > 1e-4
    expected = model(images.astype(np.float32), training=False)["mask"]
    np.testing.assert_array_equal(found["mask"], expected)
