import csv
import dataclasses
import hashlib
import os
import shutil

import numpy as np
import pytest

from data_prep.build import convert
from data_prep.build import image_records
from data_prep.build import shard_writing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset import stored_pixels
from data_prep.labels import rle_csv
from data_prep.phantom import synthetic_folder
from data_prep.pixels import dicom
from data_prep.source import quarantine


def tree(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def records(folder, split=None):
    data = manifest.read(folder)
    for shard in data.shards:
        if split in (None, shard.split):
            for serialized in shards.read(folder / shard.name):
                yield shard, schema.parse(serialized)


def test_quarantine_names_exactly_the_two_bad_files(dataset):
    rows = quarantine.read(dataset)
    assert [row[1] for row in rows] == ["LABEL_MISSING", "DCM_TRUNCATED"]
    assert rows[0][0].endswith("3.31.4.dcm")
    assert rows[1][0].endswith("3.32.4.dcm")


def test_every_input_is_in_one_place(dataset, source):
    inputs = {p.stem for p in source.rglob("*.dcm")}
    for size in (32, 64):
        stored = [r.image_id for _, r in records(dataset / str(size))]
        bad = [row[0].rsplit("/", 1)[1][:-4] for row in quarantine.read(dataset)]
        assert sorted(stored + bad) == sorted(inputs)


@pytest.mark.parametrize("size", [32, 64])
def test_records_hold_what_the_source_has(dataset, source, size, convert_config):
    truth = rle_csv.read(source / synthetic_folder.TRAIN_CSV)
    paths = {p.stem: p for p in source.rglob("*.dcm")}
    pixels = image_records.pixels_of(convert_config)
    masks_seen = 0
    for shard, record in records(dataset / str(size)):
        image = dicom.read_pixels(paths[record.image_id].read_bytes())
        np.testing.assert_array_equal(
            stored_pixels.decode(record.pixels, size, "raw"),
            image_records.prepare(image, size, pixels),
        )
        assert (record.fold, record.label) == (shard.fold, shard.label)
        assert (record.source_height, record.source_width) == (128, 128)
        if shard.split == "test":
            assert record.mask_bits is None
            assert record.label == -1
            continue
        rows = truth[record.image_id]
        assert record.label == int(rows != ["-1"])
        mask = schema.unpack_mask(record.mask_bits, size)
        full_size = rle.decode_union(rows, 128, 128)
        cell = 128 // size
        shares = full_size.reshape(size, cell, size, cell).mean(axis=(1, 3))
        np.testing.assert_array_equal(mask, shares >= 0.5)
        masks_seen += mask.any()
    assert masks_seen > 5


def test_folds_hold_every_patient_once(dataset):
    fold_of = {}
    for _, record in records(dataset / "32", "train"):
        assert fold_of.setdefault(record.group, record.fold) == record.fold
    assert set(fold_of.values()) == {0, 1, 2}
    assert len(fold_of) < 30


def test_folds_csv_is_the_split(dataset):
    with (dataset / "folds.csv").open() as file:
        written = {row["ImageId"]: int(row["fold"]) for row in csv.DictReader(file)}
    assert written == {r.image_id: r.fold for _, r in records(dataset / "64", "train")}


def test_statistics(dataset):
    data = manifest.read(dataset / "32")
    values = np.concatenate(
        [np.frombuffer(r.pixels, np.uint8) for _, r in records(dataset / "32", "train")]
    )
    assert data.mean == pytest.approx(values.mean())
    assert data.std == pytest.approx(values.std())
    assert sum(manifest.counts(data.shards).values()) == 37


def test_no_patient_and_no_path_in_the_output(dataset, source):
    patient = b"dicom-images-train-000"
    for path in source.rglob("dicom-images-train/**/*.dcm"):
        assert patient in path.read_bytes(), "the source names them"
    files = [path for path in dataset.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        data = path.read_bytes()
        assert patient not in data
        assert os.fsencode(source) not in data


def test_bytes_do_not_depend_on_workers_or_place(
    dataset, source, convert_config, tmp_path
):
    elsewhere = tmp_path / "moved" / source.name
    shutil.copytree(source, elsewhere)
    config = dataclasses.replace(
        convert_config,
        source=elsewhere / synthetic_folder.TRAIN_FOLDER,
        rle_csv=elsewhere / synthetic_folder.TRAIN_CSV,
        test_source=elsewhere / synthetic_folder.TEST_FOLDER,
        output=tmp_path / "again",
        num_workers=1,
    )
    assert convert.convert(config) == ExitCode.DONE
    assert tree(tmp_path / "again") == tree(dataset)


@pytest.mark.parametrize("stop_at", [0, 1, 5])
def test_an_interrupted_conversion_continues(
    dataset, convert_config, tmp_path, monkeypatch, stop_at
):
    config = dataclasses.replace(convert_config, output=tmp_path / "data")
    written = []
    write_shard = shard_writing._write_shard

    def stopping(*args):
        if len(written) == stop_at:
            raise KeyboardInterrupt
        written.append(args[1].name)
        return write_shard(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writing, "_write_shard", stopping)
        with pytest.raises(KeyboardInterrupt):
            convert.convert(config)
    assert not list((tmp_path / "data").rglob("dataset.json"))
    done = len(written)

    def counting(*args):
        written.append(args[1].name)
        return write_shard(*args)

    monkeypatch.setattr(shard_writing, "_write_shard", counting)
    convert.convert(config)
    assert tree(tmp_path / "data") == tree(dataset)
    assert len(written) == len(set(written)), "a finished shard was written twice"
    assert done == stop_at


def test_a_complete_output_is_confirmed(dataset, convert_config, monkeypatch):
    monkeypatch.setattr(convert, "_build", None)
    assert convert.convert(convert_config) == ExitCode.DONE


def test_another_configuration_is_refused(dataset, convert_config):
    other = dataclasses.replace(convert_config, clahe="none")
    with pytest.raises(CommandError, match="clahe: stored 'opencv.*asked 'none'") as e:
        convert.convert(other)
    assert e.value.exit_code == ExitCode.CONFLICT


def test_too_many_bad_inputs_publish_nothing(convert_config, tmp_path):
    config = dataclasses.replace(
        convert_config, output=tmp_path / "data", max_bad_fraction=0.0
    )
    with pytest.raises(CommandError, match="nothing was published") as e:
        convert.convert(config)
    assert e.value.exit_code == ExitCode.TOO_MANY_BAD
    assert not list(tmp_path.rglob("dataset.json"))
    assert quarantine.read(tmp_path / "data")


def test_quarantined_items_show_in_the_exit_code(dataset, convert_config):
    strict = dataclasses.replace(convert_config, allow_quarantined=1)
    assert convert.convert(strict) == ExitCode.QUARANTINED


def test_png_records_hold_the_same_pixels(dataset, convert_config, tmp_path):
    config = dataclasses.replace(
        convert_config, output=tmp_path / "png", pixel_encoding="png", sizes=(32,)
    )
    convert.convert(config)
    raw = {r.image_id: r for _, r in records(dataset / "32")}
    stored = [record for _, record in records(tmp_path / "png" / "32")]
    assert [record.image_id for record in stored] == list(raw)
    for record in stored:
        np.testing.assert_array_equal(
            stored_pixels.decode(record.pixels, 32, "png"),
            stored_pixels.decode(raw[record.image_id].pixels, 32, "raw"),
        )


def test_a_damaged_shard_is_found(dataset, tmp_path):
    folder = shutil.copytree(dataset / "32", tmp_path / "32")
    shard = manifest.read(folder).shards[0]
    path = folder / shard.name
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CommandError, match="does not match its recorded sha256"):
        manifest.check_shards(folder, [shard])
    path.write_bytes(data[:-1])
    with pytest.raises(CommandError, match=f"{shard.name} is missing or not"):
        manifest.read(folder)


def test_a_source_may_be_read_only(convert_config):
    """Only root may write in it then; nothing of it changes for root either."""

    def state():
        return {
            path: (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
            for path in [source, *source.rglob("*")]
            for s in [path.stat()]
        }

    source = convert_config.source
    modes = {path: path.stat().st_mode for path in [source, *source.rglob("*")]}
    for path in modes:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state()
    try:
        assert convert.convert(convert_config) == ExitCode.DONE
        assert state() == before
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
