"""Every kind of fault is made in real files, and must be reported with its fix."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from data_prep.build import convert
from data_prep.check import issues
from data_prep.check import verification
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset import tfds_files

ROOT = pathlib.Path(__file__).parents[3]
POSITIVE = "train-fold0-positive.tfrecord-00000-of-00001"
NEGATIVE = "train-fold1-negative.tfrecord-00000-of-00002"
TEST = "test.tfrecord-00001-of-00002"


@pytest.fixture
def data(dataset, tmp_path):
    """A copy of the output folder, to be damaged."""
    return shutil.copytree(dataset, tmp_path / "data")


def issues_of(folder):
    return list(verification.verify(folder).issues)


def only(folder, kind):
    """Returns the only issue in a folder, which must be of a kind."""
    (issue,) = issues_of(folder)
    assert issue.kind == kind, issue
    assert issue.fix
    return issue


def describe(folder, **changes):
    """Changes `dataset.json` and its checksum, and the files that repeat it."""
    changed = dataclasses.replace(manifest.read_alone(folder), **changes)
    manifest.write(folder, changed)
    tfds_files.write(folder, changed)


def rewrite(folder, name, change):
    """Replaces a shard's records by `change(records)`, and updates the manifest."""
    path = folder / name
    old = [schema.parse(serialized) for serialized in shards.read(path)]
    new = [r if isinstance(r, bytes) else schema.serialize(r) for r in change(old)]
    count, num_bytes, digest = shards.write(path, new)
    facts = {"num_records": count, "num_bytes": num_bytes, "sha256": digest}
    stored = manifest.read_alone(folder)
    describe(
        folder,
        shards=tuple(
            dataclasses.replace(s, **facts) if s.name == name else s
            for s in stored.shards
        ),
    )


def replace_first(folder, name, **changes):
    """Changes fields of a shard's first record."""
    rewrite(folder, name, lambda r: [dataclasses.replace(r[0], **changes), *r[1:]])


def first(folder, name):
    return schema.parse(next(shards.read(folder / name)))


def reversed_pixels(record):
    return bytes(255 - value for value in record.pixels)


def test_sound_data(dataset):
    result = verification.verify(dataset)
    assert not result.issues
    assert not result.issues.lines()
    assert (result.num_datasets, result.num_records) == (2, 2 * 37)
    assert result.num_shards == len(list(dataset.glob("*/*.tfrecord-*")))
    assert verification.verify(dataset / "64").num_records == 37


@pytest.mark.slow
def test_sound_png_data(convert_config, tmp_path):
    config = dataclasses.replace(
        convert_config, output=tmp_path / "png", pixel_encoding="png", sizes=(32,)
    )
    convert.convert(config)
    assert not issues_of(tmp_path / "png")
    folder = tmp_path / "png" / "32"

    def damaged(records):
        a, b, *others = records
        image = cv2.imdecode(np.frombuffer(b.pixels, np.uint8), cv2.IMREAD_GRAYSCALE)
        colour = cv2.imencode(".png", np.dstack([image] * 3))[1].tobytes()
        return [
            dataclasses.replace(a, pixels=a.pixels[:-20]),
            dataclasses.replace(b, pixels=colour),
            *others,
        ]

    rewrite(folder, TEST, damaged)
    one, two = issues_of(folder)
    assert one.kind == two.kind == "RECORD_PIXELS"
    assert "record 0" in one.what
    assert "no PNG" in one.what
    assert "a PNG of shape (32, 32, 3)" in two.what


def test_a_missing_shard(data):
    (data / "32" / POSITIVE).unlink()
    issue = only(data, "SHARD_MISSING")
    assert issue.file == data / "32" / POSITIVE
    assert "restore it from a copy" in issue.fix


def test_an_extra_shard(data):
    extra = data / "32" / "test.tfrecord-00002-of-00003"
    shutil.copy(data / "32" / TEST, extra)
    assert only(data, "SHARD_EXTRA").file == extra


@pytest.mark.parametrize("place", [".", "32"])
def test_a_leftover(data, place):
    leftover = data / place / f"{durable.INCOMPLETE}-{TEST}"
    leftover.touch()
    assert only(data, "LEFTOVER").file == leftover


def test_a_flipped_bit(data):
    path = data / "32" / POSITIVE
    stored = bytearray(path.read_bytes())
    stored[-100] ^= 1
    path.write_bytes(stored)
    hashed, damaged = issues_of(data)
    assert (hashed.kind, damaged.kind) == ("SHARD_SHA256", "RECORD_DAMAGED")
    assert hashed.file == damaged.file == path
    last = manifest.read(data / "32").shards
    count = next(s.num_records for s in last if s.name == POSITIVE)
    assert f"record {count - 1} is damaged" in damaged.what


def test_a_file_cut_between_records(data):
    path = data / "32" / POSITIVE
    records = list(shards.read(path))
    shards.write(path, records[:-1])
    size, count = issues_of(data)
    assert (size.kind, count.kind) == ("SHARD_SIZE", "SHARD_RECORDS")
    assert f"{len(records) - 1} records instead of {len(records)}" in count.what


def test_another_order_of_records_is_another_file(data):
    path = data / "32" / POSITIVE
    shards.write(path, list(shards.read(path))[::-1])
    assert only(data, "SHARD_SHA256").file == path


def test_a_record_of_another_schema(data):
    rewrite(data / "32", TEST, lambda r: [*r[:-1], b"no example"])
    issue = only(data / "32", "RECORD_SCHEMA")
    assert issue.file.name == TEST


@pytest.mark.parametrize(
    ("shard", "changes", "kind", "message"),
    [
        (TEST, {"image_id": "=1+2"}, "RECORD_ID", "record 0 has an id"),
        (TEST, {"pixels": b"x" * 1023}, "RECORD_PIXELS", "1023 bytes of pixels"),
        (TEST, {"mask_bits": bytes(128)}, "RECORD_MASK", "in the test split"),
        (TEST, {"label": 0}, "RECORD_LABEL", "label 0 in a shard of label -1"),
        (TEST, {"source_width": 0}, "RECORD_SOURCE_SIZE", "128 x 0 pixels"),
        (TEST, {"group": ""}, "RECORD_GROUP", "no group"),
        (POSITIVE, {"mask_bits": None}, "RECORD_MASK", "has no mask"),
        (POSITIVE, {"mask_bits": bytes(127)}, "RECORD_MASK", "127 bytes of mask"),
        (POSITIVE, {"label": 0, "mask_bits": bytes(128)}, "RECORD_LABEL", "label 0"),
        (POSITIVE, {"pixels": b""}, "RECORD_PIXELS", "0 bytes of pixels"),
        (
            NEGATIVE,
            {"mask_bits": bytes(127) + b"\x03"},
            "RECORD_MASK",
            "is negative with a mask of 2 pixels",
        ),
    ],
)
def test_a_wrong_record(data, shard, changes, kind, message):
    replace_first(data / "32", shard, **changes)
    issue = only(data / "32", kind)
    assert message in issue.what
    assert issue.file == data / "32" / shard
    assert "convert again" in issue.fix


def test_a_positive_may_be_too_small_to_see(data):
    replace_first(data / "32", POSITIVE, mask_bits=bytes(128))
    assert not issues_of(data)


def test_an_unfit_id_is_not_told(data):
    replace_first(data / "32", TEST, image_id="DOE^JANE\n1960")
    issue = only(data / "32", "RECORD_ID")
    assert "DOE" not in str(issue)
    assert "\n" not in str(issue)


def test_a_fold_and_a_patient_in_two(data):
    folder = data / "32"
    group = first(folder, NEGATIVE).group
    replace_first(folder, POSITIVE, group=group)
    issue = only(folder, "GROUP_IN_TWO_FOLDS")
    assert "of fold 0 and record" in issue.what
    assert group not in str(issue)
    options = manifest.read(folder).options | {"published_folds": True}
    describe(folder, options=options)
    assert not issues_of(folder), "a published split may divide patients"
    replace_first(folder, POSITIVE, fold=2)
    assert "has fold 2 in a shard of fold 0" in only(folder, "RECORD_FOLD").what


def test_an_image_twice(data):
    folder = data / "32"
    twice = first(folder, "test.tfrecord-00000-of-00002").image_id
    replace_first(folder, TEST, image_id=twice)
    issue = only(folder, "RECORD_TWICE")
    assert f"{twice}, is also in test.tfrecord-00000-of-00002" in issue.what


def test_statistics(data):
    folder = data / "32"
    old = manifest.read(folder)
    describe(folder, mean=old.mean + 0.01)
    assert f"the images have {old.mean}" in only(folder, "DATASET").what
    describe(folder, mean=old.mean)
    assert not issues_of(folder)
    replace_first(folder, POSITIVE, pixels=bytes(32 * 32))
    assert [f.what.split()[1] for f in issues_of(folder)] == ["mean", "std"]


def test_statistics_of_a_part_are_not_compared(data):
    (data / "32" / POSITIVE).unlink()
    describe(data / "32", mean=1.0)
    only(data / "32", "SHARD_MISSING")


def test_a_shard_under_a_wrong_name(data):
    folder = data / "32"
    stored = manifest.read(folder)
    describe(
        folder,
        shards=tuple(
            dataclasses.replace(s, fold=7) if s.name == POSITIVE else s
            for s in stored.shards
        ),
    )
    kinds = {f.kind for f in issues_of(folder)}
    assert kinds == {"DATASET", "RECORD_FOLD"}
    assert f"lists {POSITIVE} as split train, fold 7" in issues_of(folder)[0].what


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("image_size", 64, "image_size 32 and the option image_size 64"),
        ("pixel_encoding", "jpeg", "pixel_encoding 'jpeg'"),
    ],
)
def test_wrong_options(data, option, value, message):
    stored = manifest.read(data / "32")
    describe(data / "32", options=stored.options | {option: value})
    assert message in only(data / "32", "DATASET").what


def test_damaged_descriptions(data):
    path = data / "32" / manifest.FILE_NAME
    sound_text = path.read_text()
    for text, message in (
        (sound_text.replace('"num_folds": 3', '"num_folds": 4'), "its own sha256"),
        (sound_text[:-9], "is not JSON"),
    ):
        path.write_text(text)
        issue = only(data, "DATASET")
        assert message in issue.what
        assert issue.file == path
    stored = json.loads(sound_text)
    shard = stored["shards"][0]
    for change, message in (
        ({"schema_version": 9}, "has schema version 9"),
        ({"shards": [shard | {"name": "../32/a"}]}, "has a shard '../32/a'"),
        ({"shards": [shard | {"sha256": "../a"}]}, "with sha256 '../a'"),
        ({"shards": [{"name": shard["name"]}]}, "lacks fields of a dataset"),
        ({"extra": 1}, "lacks fields of a dataset or has others"),
    ):
        durable.write_json(
            path, {k: v for k, v in (stored | change).items() if k != "sha256"}
        )
        assert message in only(data, "DATASET").what
    path.unlink()
    assert "run the same conversion again" in only(data, "DATASET").fix


def test_files_for_tfds(data):
    info, features = (
        data / "32" / name for name in (tfds_files.INFO_FILE, tfds_files.FEATURES_FILE)
    )
    sound_text = info.read_text()
    for damaged in (sound_text.replace("test", "tset", 1).encode(), b"\xff"):
        info.write_bytes(damaged)
        assert only(data, "TFDS_FILE").file == info
    info.unlink()
    assert "is missing" in only(data, "TFDS_FILE").what
    # As datasets of earlier versions are.
    features.unlink()
    assert not issues_of(data)


def test_sizes_that_differ(data):
    small, large = data / "32", data / "64"
    other = first(large, POSITIVE).image_id
    replace_first(large, POSITIVE, image_id="another")
    lacks, has = issues_of(data)
    assert {lacks.kind, has.kind} == {"SIZES_DIFFER"}
    assert lacks.what == f"lacks image {other} of 32"
    assert has.what == "has image another, which 32 lacks"
    assert lacks.file == large / manifest.FILE_NAME
    replace_first(large, POSITIVE, image_id=other)
    replace_first(large, POSITIVE, fold=1)
    (differs,) = [f for f in issues_of(data) if f.kind == "SIZES_DIFFER"]
    assert f"image {other} has fold 1 and label 1, in 32 fold 0" in differs.what
    replace_first(large, POSITIVE, fold=0)
    describe(small, source_fingerprint="0" * 64)
    assert "other sources than 32" in only(data, "SIZES_DIFFER").what


def test_all_faults_are_reported_at_once(data):
    (data / "32" / POSITIVE).unlink()
    replace_first(data / "32", TEST, source_height=-1)
    leftover = data / f"{durable.INCOMPLETE}-folds.csv"
    leftover.touch()
    path = data / "64" / manifest.FILE_NAME
    path.write_text("{}")
    lines = verification.verify(data).issues.lines()
    assert len(lines) == 4
    for file in (data / "32" / POSITIVE, data / "32" / TEST, leftover, path):
        (line,) = [line for line in lines if line.startswith(f"{file}: ")]
        assert "; " in line


def test_many_issues_are_counted():
    many = issues.Issues()
    for k in range(issues.SHOWN_PER_KIND + 3):
        many.add("A", pathlib.Path("x"), f"is {k}", fix="fix it")
    many.add("B", pathlib.Path("y"), "is\nodd", fix="fix it")
    lines = many.lines()
    assert len(many) == issues.SHOWN_PER_KIND + 4
    assert len(lines) == issues.SHOWN_PER_KIND + 2
    assert lines[0] == "x: is 0; fix it"
    assert lines[-2:] == ["y: is odd; fix it", "... and 3 more of A"]


@pytest.mark.parametrize("name", ["", "none"])
def test_no_dataset(tmp_path, name):
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / f"{TEST}.json").touch()
    with pytest.raises(CommandError, match=r"no dataset.json in .*; give the") as e:
        verification.verify(tmp_path / name)
    assert e.value.exit_code == ExitCode.FLAGS


@pytest.mark.slow
def test_the_command(dataset, data):
    def run(folder):
        return subprocess.run(
            [sys.executable, "-m", "data_prep.verify", f"--data={folder}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    done = run(dataset)
    assert (done.returncode, done.stderr.count("ERROR")) == (0, 0), done.stderr
    assert "no fault in 74 records" in done.stdout
    assert done.stdout.count("\n") == 1
    (data / "32" / POSITIVE).unlink()
    (data / "64" / TEST).unlink()
    done = run(data)
    assert done.returncode == ExitCode.CORRUPT
    assert done.stdout.count("is missing; restore") == 2
    assert "ERROR CORRUPT: 2 findings in" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_import_is_light():
    heavy = ["tensorflow", "keras", "pydicom", "absl"]
    code = (
        "import sys, data_prep.check.verification; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
