"""Conversions of other sources and with other options than the competition's."""

import csv
import dataclasses
import shutil

import numpy as np
import PIL.Image
import pytest

from data_prep.build import convert
from data_prep.build import publishing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.labels import rle_csv
from data_prep.phantom import dicom_writer
from data_prep.phantom import synthetic_folder
from data_prep.pixels import dicom
from data_prep.pixels import notices
from data_prep.source import quarantine
from tests import dicom_files


def records(folder):
    return {
        record.image_id: record
        for shard in manifest.read(folder).shards
        for record in map(schema.parse, shards.read(folder / shard.name))
    }


def table(path, rows):
    path.write_text("".join(f"{','.join(map(str, row))}\n" for row in rows))
    return path


@pytest.fixture
def config(convert_config, tmp_path):
    return dataclasses.replace(convert_config, output=tmp_path / "out", sizes=(32,))


@pytest.fixture
def folds_of(dataset):
    with (dataset / "folds.csv").open() as file:
        return {row["ImageId"]: int(row["fold"]) for row in csv.DictReader(file)}


@pytest.fixture
def png_source(source, tmp_path):
    """The same images and masks as PNG files."""
    truth = rle_csv.read(source / synthetic_folder.TRAIN_CSV)
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for path in (source / synthetic_folder.TRAIN_FOLDER).rglob("*.dcm"):
        if path.stem not in truth or path.stem.endswith("3.32.4"):
            continue
        pixels = dicom.read_pixels(path.read_bytes())
        PIL.Image.fromarray(pixels).save(images / f"{path.stem}.png")
        mask = rle.decode_union(truth[path.stem], 128, 128)
        PIL.Image.fromarray(mask * 255).save(masks / f"{path.stem}.png")
    return images, masks


def test_png_images_and_masks_give_the_records_of_dicom(
    config, png_source, dataset, folds_of, tmp_path
):
    images, masks = png_source
    split = table(tmp_path / "folds.csv", [("fname", "fold"), *folds_of.items()])
    png = dataclasses.replace(
        config,
        source=images,
        mask_source=masks,
        rle_csv=None,
        test_source=None,
        folds_csv=split,
    )
    assert convert.convert(png) == ExitCode.DONE
    expected = {i: r for i, r in records(dataset / "32").items() if r.fold >= 0}
    stored = records(config.output / "32")
    assert stored.keys() == expected.keys()
    for image_id, record in stored.items():
        assert dataclasses.replace(record, group="") == dataclasses.replace(
            expected[image_id], group=""
        )


def test_masks_that_do_not_fit_are_quarantined(config, png_source):
    images, masks = png_source
    first, second, third, *_ = sorted(p.name for p in images.iterdir())
    PIL.Image.fromarray(np.zeros((9, 9), np.uint8)).save(masks / first)
    (masks / second).unlink()
    (images / third).unlink()
    png = dataclasses.replace(
        config,
        source=images,
        mask_source=masks,
        rle_csv=None,
        max_bad_fraction=0.5,
        require_all_images=True,
    )
    assert convert.convert(png) == ExitCode.QUARANTINED
    codes = {row[1]: row[0] for row in quarantine.read(config.output)}
    assert codes["MASK_SIZE"].endswith(first)
    assert codes["LABEL_MISSING"].endswith(second)
    assert codes["IMAGE_MISSING"] == "masks"
    assert third not in records(config.output / "32")


def test_test_images_alone(config):
    alone = dataclasses.replace(config, source=None, rle_csv=None)
    assert convert.convert(alone) == ExitCode.DONE
    data = manifest.read(config.output / "32")
    assert manifest.counts(data.shards) == {"test": 7}
    assert data.num_folds == 0
    assert {r.label for r in records(config.output / "32").values()} == {-1}


def test_stage_two_names_and_no_patient(config, source, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    paths = sorted((source / synthetic_folder.TEST_FOLDER).rglob("*.dcm"))
    for k, path in enumerate(paths):
        dataset = dicom.pydicom.dcmread(path)
        dataset.PatientID = ""
        dataset.SOPInstanceUID = f"ID_{k:09x}"
        dataset.save_as(flat / f"ID_{k:09x}.dcm")
    stage2 = dataclasses.replace(config, test_source=flat)
    convert.convert(stage2)
    test = [r for r in records(config.output / "32").values() if r.fold < 0]
    assert sorted(r.image_id for r in test) == [f"ID_{k:09x}" for k in range(7)]
    assert len({r.group for r in test}) == 7


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_published_folds(config, folds_of, tmp_path, suffix):
    published = {i: (fold + 1) % 3 for i, fold in folds_of.items()}
    rows = [(f"masks/{i}{suffix}", fold) for i, fold in published.items()]
    split = table(tmp_path / "f.csv", [("ImageId", "fold"), *rows])
    # The damaged file has a label, so it needs a fold as well.
    split.write_text(split.read_text() + "2.25.1019.3.32.4,0\n")
    convert.convert(dataclasses.replace(config, folds_csv=split))
    stored = {
        i: r.fold for i, r in records(config.output / "32").items() if r.fold >= 0
    }
    assert stored == published


def test_published_folds_that_tear_patients_are_warned_about(
    config, folds_of, tmp_path, caplog
):
    rows = [(i, k % 2) for k, i in enumerate(sorted(folds_of))]
    split = table(tmp_path / "f.csv", [*rows, ("2.25.1019.3.32.4", 0)])
    convert.convert(dataclasses.replace(config, folds_csv=split))
    assert "patients into several folds" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 0)], "has no fold for 31 images, first 2.25.1019.3.1.4"),
        (None, r"has the folds \['0', '1', '7'\]"),
    ],
)
def test_published_folds_that_do_not_fit(config, folds_of, tmp_path, rows, message):
    if rows is None:
        rows = [(i, 7 if f == 2 else f) for i, f in folds_of.items()]
        rows.append(("2.25.1019.3.32.4", 0))
    split = table(tmp_path / "f.csv", rows)
    with pytest.raises(CommandError, match=message):
        convert.convert(dataclasses.replace(config, folds_csv=split))


def test_patients_from_a_csv(config, folds_of, tmp_path, caplog):
    patients = {i: f"p{k % 5}" for k, i in enumerate(sorted(folds_of))}
    group_csv = table(tmp_path / "g.csv", [("ImageId", "patient"), *patients.items()])
    convert.convert(dataclasses.replace(config, group_csv=group_csv))
    fold_of = {}
    for record in records(config.output / "32").values():
        if record.fold >= 0:
            patient = patients[record.image_id]
            assert fold_of.setdefault(patient, record.fold) == record.fold
    assert len(fold_of) == 5
    assert "names no patient for" in caplog.text, "test images are not in the csv"


def test_source_manifest(config, dataset, source, tmp_path):
    stored = dataset / publishing.SOURCES_FILE
    lines = stored.read_text().splitlines()
    assert lines[0] == "ImageId,sha256"
    damaged = [p.stem for p in source.rglob("*.3.32.4.dcm")]
    image_id = lines[1].split(",")[0]
    lines[1] = f"{image_id},{'0' * 64}"
    source_manifest = tmp_path / "sources.csv"
    source_manifest.write_text("\n".join([*lines, f"{damaged[0]},x"]) + "\n")
    code = convert.convert(
        dataclasses.replace(
            config, source_manifest=source_manifest, max_bad_fraction=0.5
        )
    )
    assert code == ExitCode.QUARANTINED
    codes = [row[1] for row in quarantine.read(config.output)]
    assert codes.count("DCM_HASH_MISMATCH") == 2
    assert image_id not in records(config.output / "32")
    source_manifest.write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(CommandError, match="lacks .* images, first"):
        convert.convert(
            dataclasses.replace(
                config, source_manifest=source_manifest, output=tmp_path / "other"
            )
        )


def test_dry_run_lists_problems_and_writes_nothing(config, caplog):
    caplog.set_level("INFO")
    assert convert.dry_run(config) == ExitCode.DONE
    assert not config.output.exists()
    assert "LABEL_MISSING" in caplog.text
    assert "test: 7 images" in caplog.text
    strict = dataclasses.replace(config, max_bad_fraction=0.0)
    with pytest.raises(CommandError, match="1 of .* inputs are bad"):
        convert.dry_run(strict)


def test_modalities(config):
    only = dataclasses.replace(config, modalities=("DX",), max_bad_fraction=1.0)
    with pytest.raises(CommandError, match="patients cannot make"):
        convert.convert(only)
    accepted = dataclasses.replace(config, modalities=("DX", "CR"))
    assert convert.convert(accepted) == ExitCode.DONE


def change(path, **fields):
    dataset = dicom.pydicom.dcmread(path)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def test_images_that_are_no_plain_film_or_hold_text(config, source, tmp_path, caplog):
    copy = shutil.copytree(source / synthetic_folder.TEST_FOLDER, tmp_path / "test")
    scan, text = sorted(copy.rglob("*.dcm"))[:2]
    change(scan, Modality="CT")
    change(text, BurnedInAnnotation="YES")
    with_copy = dataclasses.replace(config, test_source=copy)
    assert convert.dry_run(with_copy) == ExitCode.DONE
    assert f"of 1 images, the first is {scan.stem}, is not that" in caplog.text
    assert f"1 images, the first is {text.stem}, say that text" in caplog.text
    strict = dataclasses.replace(
        with_copy, refuse_burned_in=True, modalities=("CR",), max_bad_fraction=0.5
    )
    convert.convert(strict)
    codes = {row[0].split("/")[-1]: row[1] for row in quarantine.read(config.output)}
    assert codes[scan.name] == "DCM_NOT_CXR"
    assert codes[text.name] == "DCM_BURNED_IN"


def test_one_picture_is_in_one_fold(config, source, tmp_path):
    """A copy of every labelled picture gets the id of another patient."""
    folder = shutil.copytree(source / synthetic_folder.TRAIN_FOLDER, tmp_path / "train")
    lines = (source / synthetic_folder.TRAIN_CSV).read_text().splitlines()
    more = []
    for k, line in enumerate(lines[1:13]):
        image_id, encoded = line.split(",")
        (path,) = folder.rglob(f"{image_id}.dcm")
        copy = shutil.copy(path, folder / f"copy-{image_id}.dcm")
        change(copy, PatientID=f"another {k}")
        more.append(f"copy-{image_id},{encoded}")
    rle_csv = tmp_path / "rle.csv"
    rle_csv.write_text("\n".join([*lines, *more]) + "\n")
    convert.convert(
        dataclasses.replace(
            config, source=folder, rle_csv=rle_csv, max_bad_fraction=0.5
        )
    )
    table = (config.output / publishing.FOLDS_FILE).read_text().splitlines()[1:]
    fold_of = dict(line.split(",") for line in table)
    copies = [i for i in fold_of if i.startswith("copy-")]
    assert len(copies) == 12
    assert all(fold_of[i] == fold_of[i.removeprefix("copy-")] for i in copies)


def test_bad_rows_cost_their_images_only(config, source, tmp_path):
    lines = (source / synthetic_folder.TRAIN_CSV).read_text().splitlines()
    places = [k for k, line in enumerate(lines) if line.endswith(", -1")][:3]
    first, second, third = (lines[k].split(",")[0] for k in places)
    lines[places[0]] = f"{first}, 5 2 3"
    lines[places[1]] = f"{second}, 16383 2"
    lines.append(f"{third}, 5 2")
    rle_csv = tmp_path / "rle.csv"
    rle_csv.write_text("\n".join(lines) + "\n")
    convert.convert(dataclasses.replace(config, rle_csv=rle_csv, max_bad_fraction=0.5))
    rows = {row[1]: row for row in quarantine.read(config.output)}
    assert first in rows["RLE_ODD"][0]
    assert f"line {places[0] + 1}: " in rows["RLE_ODD"][2]
    assert second in rows["RLE_OVERFLOW"][0]
    assert third in rows["LABEL_CONFLICT"][0]
    stored = records(config.output / "32")
    assert not {first, second, third} & stored.keys()


def test_one_picture_under_two_names(config, source, tmp_path, caplog):
    copy = shutil.copytree(source / synthetic_folder.TEST_FOLDER, tmp_path / "test")
    path = sorted(copy.rglob("*.dcm"))[0]
    shutil.copy(path, copy / "another.dcm")
    convert.convert(dataclasses.replace(config, test_source=copy))
    both = ", ".join(sorted((path.stem, "another")))
    assert f"DUP_PIXELS: {both} are one picture" in caplog.text


def test_other_inputs_for_one_output_are_refused(config, source, tmp_path):
    convert.convert(config)
    extended = tmp_path / "rle.csv"
    text = (source / synthetic_folder.TRAIN_CSV).read_text()
    extended.write_text(text + "2.25.1019.3.31.4, -1\n")
    with pytest.raises(CommandError, match="made from other inputs: a film, a ") as e:
        convert.convert(dataclasses.replace(config, rle_csv=extended))
    assert e.value.exit_code == ExitCode.CONFLICT


def test_narrow_images_are_padded_or_stretched(config, tmp_path):
    folder = tmp_path / "narrow"
    image = np.tile(np.arange(64, dtype=np.uint8) * 3, [128, 1])
    for k in range(4):
        dicom_writer.write_jpeg_baseline(
            folder / f"i{k}.dcm",
            np.roll(image, k),
            patient_id=f"p{k}",
            study_uid="2.25.1",
            series_uid="2.25.2",
            sop_uid=f"2.25.3.{k}",
        )
    mask = np.zeros((128, 64), np.uint8)
    mask[32:96, 16:48] = 1
    rows = [(f"i{k}", rle.encode(mask) if k % 2 else "-1") for k in range(4)]
    rle_csv = table(tmp_path / "n.csv", rows)
    for aspect, width in (("pad", 8), ("stretch", 16)):
        convert.convert(
            dataclasses.replace(
                config,
                source=folder,
                rle_csv=rle_csv,
                test_source=None,
                num_folds=2,
                aspect=aspect,
                clahe="none",
                output=tmp_path / aspect,
            )
        )
        record = records(tmp_path / aspect / "32")["i1"]
        assert (record.source_height, record.source_width) == (128, 64)
        stored = schema.unpack_mask(record.mask_bits, 32)
        expected = np.zeros((32, 32), np.uint8)
        expected[8:24, 16 - width // 2 : 16 + width // 2] = 1
        np.testing.assert_array_equal(stored, expected)
        pixels = np.frombuffer(record.pixels, np.uint8).reshape(32, 32)
        assert (pixels[:, :8] == 0).all() == (aspect == "pad")


def test_tfio_gives_nearly_the_same_pixels(config, dataset, tfio):
    other = dataclasses.replace(config, dicom_decoder="tfio", num_workers=1)
    assert convert.convert(other) == ExitCode.DONE
    expected = records(dataset / "32")
    stored = records(config.output / "32")
    assert stored.keys() == expected.keys()
    for image_id, record in stored.items():
        pydicom_pixels = np.frombuffer(expected[image_id].pixels, np.uint8).astype(int)
        tfio_pixels = np.frombuffer(record.pixels, np.uint8).astype(int)
        assert np.abs(pydicom_pixels - tfio_pixels).max() <= 4


def test_notices_are_listed_and_logged(config, tmp_path, caplog):
    source = tmp_path / "films"
    source.mkdir()
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    for name, fields in {
        "fine": {"bits": 12},
        "few": {"bits": 16},
        "fewer": {"bits": 16, "WindowCenter": "9", "WindowWidth": "0"},
    }.items():
        film = dicom_files.native(values, **fields)
        (source / f"{name}.dcm").write_bytes(dicom_files.as_bytes(film))
    config = dataclasses.replace(
        config, source=None, rle_csv=None, test_source=source, mask_source=None
    )
    assert convert.convert(config) == ExitCode.DONE
    expected = [("few", "FEW_BITS_USED"), ("fewer", "FEW_BITS_USED")]
    expected.append(("fewer", "WINDOW_IGNORED"))
    assert notices.read(config.output) == expected
    assert "FEW_BITS_USED: 2 image(s), the first is few" in caplog.text
    assert "WINDOW_IGNORED: 1 image(s), the first is fewer" in caplog.text
