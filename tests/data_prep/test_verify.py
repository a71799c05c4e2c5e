import dataclasses
import pathlib
import shutil
import subprocess
import sys

import pytest

from data_prep import durable
from data_prep import manifest
from data_prep import schema
from data_prep import shards
from data_prep import verification
from data_prep.failures import Failure

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def copy(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "data")


def named(folder, prefix):
    data = manifest.read_alone(folder)
    return next(s for s in data.shards if s.name.startswith(prefix))


def rewrite(folder, prefix, change):
    """Changes a shard's records and makes the manifest agree with its bytes."""
    data = manifest.read_alone(folder)
    shard = named(folder, prefix)
    path = folder / shard.name
    records = [schema.parse(r) for r in shards.read(path)]
    changed = [schema.serialize(r) for r in change(records)]
    count, num_bytes, digest = shards.write(path, changed)
    facts = {"num_records": count, "num_bytes": num_bytes, "sha256": digest}
    new = dataclasses.replace(shard, **facts)
    all_shards = tuple(new if s == shard else s for s in data.shards)
    manifest.write(folder, dataclasses.replace(data, shards=all_shards))


def first(**fields):
    def change(records):
        return [dataclasses.replace(records[0], **fields), *records[1:]]

    return change


def findings(folder):
    return [f"{f.file}: {f.what}" for f in verification.verify(folder)]


def test_what_was_converted_has_no_finding(dataset):
    assert findings(dataset) == []
    assert findings(dataset / "32") == []


@pytest.mark.parametrize(
    ("prefix", "change", "said"),
    [
        ("train-fold0-neg", first(fold=1), "has fold 1 and label 0, the shard 0 and 0"),
        ("train-fold0-neg", first(label=1), "has fold 0 and label 1, the shard 0"),
        ("train-fold0-neg", first(mask_bits=b"\x01" * 128), "a negative with a mask"),
        ("train-fold0-pos", first(mask_bits=b"\x01"), "has a mask of 1 bytes"),
        ("train-fold0-pos", first(mask_bits=None), "has a mask where none may be, or"),
        ("test", first(mask_bits=bytes(128)), "has a mask where none may be, or none"),
        ("test", first(pixels=b"123"), "has no 32 x 32 pixels"),
        ("test", first(image_id="../x"), "'../x' is not an image id"),
        ("test", first(source_height=0), "has a source without pixels"),
        ("test", lambda r: [r[1], *r[1:]], "is in the dataset twice"),
        ("test", lambda r: r[1:], "64: 1 images differ in presence, fold or label"),
        ("train-fold0-neg", first(pixels=bytes(1024)), "says mean"),
    ],
)
def test_a_wrong_record_is_found(copy, prefix, change, said):
    rewrite(copy / "32", prefix, change)
    assert any(said in f for f in findings(copy)), findings(copy)


def test_a_patient_in_two_folds_is_found(copy):
    folder = copy / "32"
    path = folder / named(folder, "train-fold1-neg").name
    other = schema.parse(next(iter(shards.read(path))))
    rewrite(folder, "train-fold0-neg", first(group=other.group))
    assert any("a patient is in folds 0 and 1" in f for f in findings(copy))


def test_all_that_is_wrong_with_files_is_said_at_once(copy):
    folder = copy / "32"
    missing = named(folder, "train-fold0-neg").name
    (folder / missing).unlink()
    flipped = folder / named(folder, "train-fold1-neg").name
    data = bytearray(flipped.read_bytes())
    data[-20] ^= 1
    flipped.write_bytes(data)
    cut = folder / named(folder, "test").name
    records = list(shards.read(cut))
    shards.write(cut, records[:-1])  # Cut between records: no checksum sees it.
    (folder / "extra.tfrecord-00000-of-00001").write_bytes(b"")
    (copy / "64" / ".incomplete-x").write_bytes(b"")
    found = "\n".join(findings(copy))
    for said in (
        f"32/{missing}: the shard is missing",
        f"{flipped.name}: does not match its recorded sha256",
        "is damaged, the rest is lost",
        f"{cut.name}: has ",
        f"holds {len(records) - 1} records instead of {len(records)}",
        "32/extra.tfrecord-00000-of-00001: is in the folder and not in the manifest",
        "64/.incomplete-x: is in the folder",
    ):
        assert said in found, found


def test_a_changed_manifest_is_a_finding(copy):
    path = copy / "32" / "dataset.json"
    path.write_text(path.read_text().replace('"num_folds": 3', '"num_folds": 4', 1))
    assert "does not match its own sha256" in findings(copy)[0]
    stored = durable.read_json(copy / "64" / "dataset.json", mend="")
    durable.write_json(copy / "64" / "dataset.json", stored | {"schema_version": 9})
    assert any("has schema version 9" in f for f in findings(copy))


def test_no_dataset(tmp_path):
    with pytest.raises(Failure, match="no dataset.json in"):
        verification.verify(tmp_path)


def test_command(copy):
    def run():
        return subprocess.run(
            [sys.executable, "-m", "data_prep.verify", f"--data={copy}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    assert run().returncode == 0
    rewrite(copy / "32", "test", first(pixels=b"1"))
    done = run()
    assert done.returncode == 7
    assert "has no 32 x 32 pixels; convert again" in done.stdout
    assert "findings" in done.stdout
