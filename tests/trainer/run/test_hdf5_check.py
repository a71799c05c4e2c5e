"""Weights read no other file, load no plugin and take no endless memory."""

import h5py
import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests import fakes
from trainer.models.weights import pretrained
from trainer.run import hdf5_check
from trainer.run import run_folder


def external_link(file, secret):
    file["layers/dense"] = h5py.ExternalLink(str(secret), "/values")


def soft_link(file, secret):
    file["layers/dense"] = h5py.SoftLink("/layers")


def soft_link_to_nothing(file, secret):
    file["layers/dense"] = h5py.SoftLink("/layers/dense")


def link_of_the_group_to_itself(file, secret):
    file["layers/again"] = file["layers"]
    # It has an end, as each group is looked into once; so what is beside it is seen.
    external_link(file, secret)


def external_storage(file, secret):
    external = [(str(secret), 0, 80)]
    file.create_dataset("layers/0", (10,), "float64", external=external)


def virtual(file, secret):
    layout = h5py.VirtualLayout((10,), "float64")
    layout[:] = h5py.VirtualSource(str(secret), "values", (10,))
    file.create_virtual_dataset("layers/0", layout)


def plugin(file, secret):
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((10,))
    # A code of the HDF Group's list of plugins; optional, or the file cannot be made.
    created.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space, kind = h5py.h5s.create_simple((10,)), h5py.h5t.NATIVE_DOUBLE
    h5py.h5d.create(file["layers"].id, b"0", kind, space, created)


def petabytes(file, secret):
    file.create_dataset("layers/0", (1 << 47,), "float64")


def packed_gigabytes(file, secret):
    shape = (1 << 16, 1 << 14)
    file.create_dataset(
        "layers/0", shape, "float64", chunks=(256, 256), compression="gzip"
    )


def objects(file, secret):
    file.create_dataset("layers/0", (2,), h5py.string_dtype())


def named_type(file, secret):
    file["layers/0"] = np.dtype("float64")


def deep(file, secret):
    file.create_group("/".join("a" * (hdf5_check.MAX_DEPTH + 2)))


HOSTILE = {
    external_link: "link to another file",
    soft_link: "soft link",
    soft_link_to_nothing: "soft link",
    link_of_the_group_to_itself: "link to another file",
    external_storage: "in another file",
    virtual: "arrays of other files",
    plugin: "needs the filter 32015",
    petabytes: "claims 1125899906842624 bytes",
    packed_gigabytes: "have over 4 GiB",
    objects: "no numbers",
    named_type: "neither a group nor an array",
    deep: "within more than 64",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_what_is_refused(tmp_path, make):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["values"] = np.arange(10.0)
    path = tmp_path / "best.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/bias"] = np.zeros(3)
        make(file, secret)
    with pytest.raises(CommandError, match=HOSTILE[make]) as caught:
        hdf5_check.check(path, fix="train it again")
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("; train it again")


def test_many_objects(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_check, "MAX_OBJECTS", 3)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = np.zeros(1), np.zeros(1)
        hdf5_check.check(path, fix="")
        file["c"] = np.zeros(1)
    with pytest.raises(CommandError, match="more than 3 groups and arrays"):
        hdf5_check.check(path, fix="")


@pytest.mark.parametrize("data", [b"", b"no HDF5" * 99, b"\x89HDF\r\n\x1a\n" * 20])
def test_what_is_no_hdf5(tmp_path, data):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(data)
    with pytest.raises(CommandError, match="is no HDF5 file") as caught:
        hdf5_check.check(path, fix="")
    assert caught.value.exit_code == ExitCode.CORRUPT


def test_damage_is_one_line_or_nothing(tmp_path):
    """A file whose structure is damaged is refused, or can be walked to its end."""
    path = tmp_path / "a.weights.h5"
    fakes.build_tiny(image_size=32).save_weights(path)
    whole = path.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(2048)] = rng.integers(256)
        path.write_bytes(data)
        try:
            hdf5_check.check(path, fix="")
        except CommandError:
            refused += 1
    assert 0 < refused < 60


def test_a_run_with_its_own_hashes_is_looked_into(tmp_path):
    path = tmp_path / "best.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    run = run_folder.FinishedRun(
        path=tmp_path,
        folder=tmp_path,
        config={},
        dataset={},
        result={"weights": {path.name: durable.sha256(path)}},
    )
    with pytest.raises(CommandError, match="link to another file"):
        run.verified_weights("best")


def test_a_file_of_pretrained_weights_is_looked_into(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        soft_link(file, path)
    model = fakes.build_encoded(image_size=32)
    with pytest.raises(CommandError, match="soft link"):
        pretrained.load(str(path), model)


def test_weights_pass(tmp_path):
    path = tmp_path / "a.weights.h5"
    fakes.build_tiny(image_size=32).save_weights(path)
    hdf5_check.check(path, fix="")
    with h5py.File(path, "r+") as file:
        options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset("packed", data=np.zeros((300, 300)), **options)
    hdf5_check.check(path, fix="")
