import csv
import logging

import cv2
import numpy as np
import pytest

from data_prep.build import side_tables
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset.reading import DatasetReader
from data_prep.source import quarantine
from tests import dicom_files
from tests.data_prep.build import films

FLAT = {f"film{k}.png": k for k in range(8)}
CHEXPERT = {f"patient{k:05}/study1/view1_frontal.png": k for k in range(8)}


@pytest.fixture
def convert(monkeypatch, caplog):
    def run(config, *, dry=False):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            return films.run(monkeypatch, config, dry=dry)

    return run


def records(config):
    return {r.image_id: r for r in DatasetReader(config.output / "32").records()}


def codes(config):
    return sorted({row[1] for row in quarantine.read(config.output)})


def table(config, name):
    with (config.output / name).open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("dry", [False, True])
def test_labels_of_another_set_are_named(convert, tmp_path, caplog, dry):
    films.write(tmp_path / "films", FLAT)
    films.write_labels(tmp_path / "labels.csv", [f"ID_{k}" for k in range(6)])
    config = films.config(tmp_path)
    with pytest.raises(CommandError) as e:
        convert(config, dry=dry)
    assert e.value.exit_code == ExitCode.TOO_MANY_BAD
    assert "0 of 8 images" in str(e.value)
    assert "names 'ID_0', the folder has 'film0'" in str(e.value)
    assert "give more images" not in str(e.value)
    assert caplog.messages[0].startswith("LABEL_MISSING: 8 input(s), films/film0.png")
    assert sum(m.startswith("quarantined ") for m in caplog.messages) == 8
    assert (config.output / quarantine.FILE_NAME).exists() != dry
    if not dry:
        assert len(quarantine.read(config.output)) == 8


def test_folds_that_fail_say_what_is_missing(convert, tmp_path):
    films.write(tmp_path / "films", FLAT)
    films.write_labels(tmp_path / "labels.csv", ["film0", "film1"])
    config = films.config(tmp_path, num_folds=4)
    with pytest.raises(CommandError, match="2 patients cannot make 4 folds") as e:
        convert(config)
    assert "6 of 8 inputs cannot be used" in str(e.value)
    assert "mend the bad inputs, give more images" in str(e.value)
    assert codes(config) == ["LABEL_MISSING"]


def test_equal_names_are_refused_with_the_way_out(convert, tmp_path):
    films.write(tmp_path / "films", CHEXPERT)
    films.write_labels(tmp_path / "labels.csv", CHEXPERT)
    config = films.config(tmp_path)
    with pytest.raises(CommandError, match="8 of 8 for DUP_ID_CONFLICT") as e:
        convert(config)
    assert "--id_from=path" in str(e.value)
    assert codes(config) == ["DUP_ID_CONFLICT"]


@pytest.mark.parametrize(
    "prefix", ["", "CheXpert-v1.0-small/train/", "C:\\sets\\CheXpert\\"]
)
def test_paths_are_ids(convert, tmp_path, caplog, prefix):
    films.write(tmp_path / "films", CHEXPERT)
    films.write_labels(tmp_path / "labels.csv", [prefix + name for name in CHEXPERT])
    config = films.config(tmp_path, id_from="path")
    assert convert(config) == ExitCode.DONE
    names = dict(table(config, side_tables.IDS_FILE)[1:])
    assert sorted(names.values()) == sorted(CHEXPERT)
    found = records(config)
    assert found.keys() == names.keys()
    for image_id, record in found.items():
        assert record.label == (CHEXPERT[names[image_id]] % 2 == 0)
        assert image_id.startswith(names[image_id][:12])
    assert "8 of 8 images have an id that is not the stem" in caplog.text


def test_masks_are_found_by_path(convert, tmp_path):
    films.write(tmp_path / "films", CHEXPERT)
    for name, seed in CHEXPERT.items():
        path = tmp_path / "masks" / "train" / name
        path.parent.mkdir(parents=True)
        mask = np.zeros((films.SIDE, films.SIDE), np.uint8)
        mask[20:30, 20:30] = 255 * (seed % 2)
        assert cv2.imwrite(str(path), mask)
    config = films.config(
        tmp_path, id_from="path", rle_csv=None, mask_source=tmp_path / "masks"
    )
    assert convert(config) == ExitCode.DONE
    names = dict(table(config, side_tables.IDS_FILE)[1:])
    for image_id, record in records(config).items():
        assert record.label == CHEXPERT[names[image_id]] % 2
        assert any(record.mask_bits) == record.label


def test_other_csvs_name_images_by_path(convert, tmp_path):
    films.write(tmp_path / "films", CHEXPERT)
    films.write_labels(tmp_path / "labels.csv", CHEXPERT)
    folds, groups = tmp_path / "folds.csv", tmp_path / "groups.csv"
    lines = [f"train/{name[:-4]}.jpg,{k % 2}" for name, k in CHEXPERT.items()]
    folds.write_text("\n".join(["fname,fold", *lines]))
    lines = [f"{name},p{k // 4}" for name, k in CHEXPERT.items()]
    groups.write_text("\n".join(["ImageId,patient", *lines]))
    config = films.config(tmp_path, id_from="path", folds_csv=folds, group_csv=groups)
    convert(config)
    names = dict(table(config, side_tables.IDS_FILE)[1:])
    found = {CHEXPERT[names[i]]: r for i, r in records(config).items()}
    assert {k: r.fold for k, r in found.items()} == {k: k % 2 for k in range(8)}
    assert len({r.group for r in found.values()}) == 2
    assert found[0].group == found[3].group != found[4].group


def test_a_csv_that_fits_several_images_is_refused(convert, tmp_path):
    films.write(tmp_path / "films", CHEXPERT)
    films.write_labels(tmp_path / "labels.csv", [*CHEXPERT, "view1_frontal.png"])
    config = films.config(tmp_path, id_from="path")
    with pytest.raises(CommandError, match="0 of 8 images"):
        convert(config)
    assert codes(config) == ["LABEL_AMBIGUOUS"]


def test_names_with_blanks_and_umlauts_are_mapped(convert, tmp_path, caplog):
    odd = {f"Müller {k} (links).png": k for k in range(4)} | {"plain.png": 4}
    films.write(tmp_path / "films", odd)
    films.write_labels(tmp_path / "labels.csv", odd)
    config = films.config(tmp_path)
    assert convert(config) == ExitCode.DONE
    names = dict(table(config, side_tables.IDS_FILE)[1:])
    assert sorted(names.values()) == sorted(odd)
    assert names["plain"] == "plain.png"
    assert "4 of 5 images have an id that is not the stem" in caplog.text
    again = films.config(tmp_path, output=tmp_path / "again")
    convert(again)
    assert records(again).keys() == records(config).keys() == names.keys()


def test_no_map_is_written_where_ids_are_stems(convert, tmp_path):
    films.write(tmp_path / "films", FLAT)
    films.write_labels(tmp_path / "labels.csv", FLAT)
    config = films.config(tmp_path)
    convert(config)
    assert not (config.output / side_tables.IDS_FILE).exists()


def dicoms(folder, uids):
    for k, uid in enumerate(uids):
        data = dicom_files.native(films.film(k), PatientID=f"p{k}")
        data.SOPInstanceUID = uid
        path = folder / f"series{k}" / "IM0001"
        path.parent.mkdir(parents=True)
        path.write_bytes(dicom_files.as_bytes(data))


def test_headers_give_ids(convert, tmp_path):
    dicoms(tmp_path / "films", [f"1.2.{k}" for k in range(5)] + [""])
    films.write(tmp_path / "films", {"photo.png": 9})
    films.write_labels(tmp_path / "labels.csv", [f"1.2.{k}" for k in range(5)])
    config = films.config(tmp_path, id_from="sop_instance_uid", max_bad_fraction=0.5)
    assert convert(config) == ExitCode.QUARANTINED
    assert sorted(records(config)) == [f"1.2.{k}" for k in range(5)]
    rows = {row[0]: row[1] for row in quarantine.read(config.output)}
    assert rows == dict.fromkeys(
        ["films/series5/IM0001", "films/photo.png"], "ID_MISSING"
    )
    assert table(config, side_tables.IDS_FILE)[1] == ["1.2.0", "series0/IM0001"]


def test_files_of_one_header_id_are_refused(convert, tmp_path):
    dicoms(tmp_path / "films", ["1.2.0", "1.2.1", "1.2.2", "1.2.2"])
    films.write_labels(tmp_path / "labels.csv", ["1.2.0", "1.2.1", "1.2.2"])
    config = films.config(tmp_path, id_from="sop_instance_uid", max_bad_fraction=0.9)
    with pytest.raises(CommandError):
        convert(config)
    assert codes(config) == ["DUP_ID_CONFLICT"]


def test_labels_without_an_image_are_no_bad_input(convert, tmp_path, caplog):
    films.write(tmp_path / "films", FLAT)
    films.write_labels(tmp_path / "labels.csv", [*FLAT, *[f"x{k}" for k in range(50)]])
    config = films.config(tmp_path)
    assert convert(config, dry=True) == ExitCode.DONE
    assert convert(config) == ExitCode.DONE
    assert quarantine.read(config.output) == []
    rows = table(config, side_tables.WITHOUT_IMAGE_FILE)
    assert rows == [["ImageId"], *[[f"x{k}"] for k in sorted(range(50), key=str)]]
    told = [m for m in caplog.messages if "labels_without_image.csv" in m]
    assert len(told) == 1
    assert told[0].startswith("50 labels")


@pytest.mark.parametrize("dry", [False, True])
def test_all_images_can_be_required(convert, tmp_path, dry):
    films.write(tmp_path / "films", FLAT)
    films.write_labels(tmp_path / "labels.csv", [*FLAT, "x1"])
    config = films.config(tmp_path, require_all_images=True, max_bad_fraction=0.2)
    assert convert(config, dry=dry) == ExitCode.QUARANTINED
    strict = films.replaced(config, max_bad_fraction=0.0, output=tmp_path / "other")
    with pytest.raises(CommandError, match="1 of 9 inputs are bad"):
        convert(strict, dry=dry)
    if not dry:
        assert codes(config) == codes(strict) == ["IMAGE_MISSING"]
        assert not (config.output / side_tables.WITHOUT_IMAGE_FILE).exists()


def test_a_fault_in_a_label_without_an_image_is_none(convert, tmp_path):
    films.write(tmp_path / "films", FLAT)
    path = films.write_labels(tmp_path / "labels.csv", FLAT)
    path.write_text(path.read_text() + "x1,5 2 3\n")
    config = films.config(tmp_path)
    assert convert(config) == ExitCode.DONE
    assert table(config, side_tables.WITHOUT_IMAGE_FILE) == [["ImageId"], ["x1"]]


def test_image_labels_and_lists_name_images_by_path(convert, tmp_path):
    films.write(tmp_path / "films", CHEXPERT)
    rows = [f"set/train/{name},{k % 2}" for name, k in CHEXPERT.items()]
    rows.append("set/valid/patient9/study1/view1_frontal.png,1")
    (tmp_path / "labels.csv").write_text("\n".join(["Path,Pneumothorax", *rows]))
    lists = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for fold, path in enumerate(lists):
        named = [name for name, k in CHEXPERT.items() if k // 4 == fold]
        path.write_text("\n".join(named) + "\n")
    config = films.config(
        tmp_path,
        id_from="path",
        rle_csv=None,
        label_csv=(tmp_path / "labels.csv",),
        fold_lists=tuple(lists),
    )
    assert convert(config) == ExitCode.DONE
    names = dict(table(config, side_tables.IDS_FILE)[1:])
    for image_id, record in records(config).items():
        number = CHEXPERT[names[image_id]]
        assert (record.label, record.fold) == (number % 2, number // 4)
    assert table(config, side_tables.WITHOUT_IMAGE_FILE)[1:] == [
        ["set/valid/patient9/study1/view1_frontal.png"]
    ]


def test_a_shared_patient_is_told_where_folds_fail(convert, tmp_path, caplog):
    for k in range(16):
        data = dicom_files.native(films.film(k), PatientID="ANONYMOUS")
        path = tmp_path / "films" / f"film{k:02}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dicom_files.as_bytes(data))
    names = [f"film{k:02}" for k in range(16)]
    films.write_labels(tmp_path / "labels.csv", names)
    config = films.config(tmp_path)
    with pytest.raises(CommandError, match="1 patients cannot make 2 folds") as e:
        convert(config)
    assert "16 of 16 images have one patient id" in str(e.value)
    assert "--group_csv" in str(e.value)
    assert any("16 of 16 images have one patient id" in m for m in caplog.messages)
    assert "ANONYMOUS" not in f"{caplog.text}{e.value}"
    groups = tmp_path / "groups.csv"
    groups.write_text("".join(f"{name},p{name}\n" for name in names))
    assert convert(films.replaced(config, group_csv=groups)) == ExitCode.DONE
    assert "one patient id" not in caplog.text
