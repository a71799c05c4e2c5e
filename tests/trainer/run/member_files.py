"""Member files by hand, so that tests can make them wrong in every way."""

import hashlib
import io
import pathlib
import zipfile

import h5py

from data_prep.core import durable

WEIGHTS = "swa.weights.h5"


def sound_files(folder: pathlib.Path, **changes) -> dict[str, bytes]:
    """Returns {name: bytes} of a member; `changes` replace keys of config.json."""
    folder.mkdir(exist_ok=True)
    run = {
        "config": {"model": "tiny", "precision": "float32", "fold": 1},
        "dataset": {
            "image_size": 32,
            "num_folds": 3,
            "options": {"clahe": True},
            "source_fingerprint": "ab" * 32,
        },
    }
    files = {WEIGHTS: _weights()}
    durable.write_json(folder / "config.json", run | changes)
    files["config.json"] = (folder / "config.json").read_bytes()
    result = {
        "scores": {},
        "begun_with": {},
        "weights": {WEIGHTS: sha256(files[WEIGHTS])},
        "config_sha256": sha256(files["config.json"]),
        "versions": {},
    }
    durable.write_json(folder / "result.json", result)
    files["result.json"] = (folder / "result.json").read_bytes()
    return files


def _weights() -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["layers/dense/kernel"] = [1.0, 2.0]
    return data.getvalue()


def manifest(folder: pathlib.Path, members: dict[str, bytes], **changes) -> bytes:
    """Returns the member.json of files; `changes` replace its keys."""
    listed = {name: {"sha256": sha256(data)} for name, data in members.items()}
    durable.write_json(folder / "member.json", {"format": 1, "files": listed} | changes)
    return (folder / "member.json").read_bytes()


def write(path: pathlib.Path, files: dict[str, bytes], **changes) -> pathlib.Path:
    """Writes a zip; `changes` replace attributes of its entries, by their names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            for key, value in changes.get(name, {}).items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return path


def write_sound(folder: pathlib.Path) -> pathlib.Path:
    """Writes a member file that nothing is wrong with."""
    files = sound_files(folder)
    whole = {"member.json": manifest(folder, files)} | files
    return write(folder / "sound.zip", whole)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
