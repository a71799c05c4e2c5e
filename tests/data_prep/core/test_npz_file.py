import io
import zipfile

import numpy as np
import pytest

from data_prep.core import npz_file
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


def header(shape, dtype="<f8"):
    """Returns an array's header, and one value."""
    stream = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue() + bytes(8)


def zipped(path, data, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", data)


def refused(path):
    with pytest.raises(CommandError) as caught:
        npz_file.read(path, fix="predict again")
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(True), "c": np.zeros(0)}
    save(tmp_path / "a.npz", **arrays)
    read = npz_file.read(tmp_path / "a.npz", fix="")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_objects_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.array([{}], object))
    assert "it has objects" in refused(path)


def test_claims_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    zipped(path, header((1,)))
    assert npz_file.read(path, fix="")["a"] == 0
    zipped(path, header((1 << 50,)))
    assert "claims 9007199254740992 bytes and has" in refused(path)
    monkeypatch.setattr(npz_file, "MAX_BYTES", 1 << 20)
    zipped(path, header((1 << 18,)) + bytes(1 << 21), zipfile.ZIP_DEFLATED)
    assert "unpacks to over" in refused(path)
    zipped(path, header((1,)), zipfile.ZIP_LZMA)
    assert "not packed by deflate" in refused(path)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\5\6" + bytes(18)])
def test_what_is_no_npz(tmp_path, data):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    if data.startswith(b"PK"):
        assert npz_file.read(path, fix="") == {}
    else:
        refused(path)
    zipped(path, data)
    refused(path)
