"""The public sets' csvs of image-level labels; a missing label is never a negative."""

import pathlib

import pytest

from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import image_labels

NIH = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,View Position
00000001_000.png,Cardiomegaly|Pneumothorax,0,1,58,PA
00000001_001.png,No Finding,1,1,58,AP
00000002_000.png,Effusion,0,2,81,PA
"""
CHEXPERT = """\
Path,Sex,Frontal/Lateral,AP/PA,Pneumothorax
CheXpert-v1.0-small/train/patient00001/study1/a.jpg,F,Frontal,AP,1.0
CheXpert-v1.0-small/train/patient00002/study2/b.jpg,F,Frontal,PA,0.0
CheXpert-v1.0-small/train/patient00002/study1/c.jpg,M,Frontal,PA,-1.0
CheXpert-v1.0-small/train/patient00002/study1/d.jpg,M,Lateral,,
"""
PADCHEST = """\
,ImageID,StudyID,PatientID,Projection,Labels
0,1_a.png,1,77,PA,"['pneumothorax', 'normal']"
1,1_b.png,2,78,L,['normal']
2,1_c.png,2,78,AP_horizontal,"['pleural effusion']"
3,1_d.png,3,79,PA,['unchanged']
4,1_e.png,4,80,PA,
"""
VINDR = """\
image_id,class_name,class_id,rad_id,x_min
a,No finding,14,R1,
a,No finding,14,R2,
b,Pneumothorax,12,R1,691
b,Pneumothorax,12,R1,100
b,Pneumothorax,12,R1,300
b,Nodule/Mass,8,R2,264
b,No finding,14,R3,
"""
VINDR_IMAGES = """\
image_id,rad_ID,Pneumothorax,No finding
a,R1,0,1
a,R2,0,1
a,R3,1,0
b,R1,1,0
b,R2,1,0
b,R3,0,0
"""
RSNA = """\
patientId,x,y,width,height,Target
0004cfab,,,,,0
00436515,264.0,152.0,213.0,379.0,1
00436515,562.0,152.0,256.0,453.0,1
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text, **options):
        path = tmp_path / "labels.csv"
        path.write_text(text)
        return image_labels.read(
            ConvertConfig(
                source=pathlib.Path("films"),
                label_csv=(path,),
                output=tmp_path / "out",
                num_workers=1,
                **options,
            )
        )

    return from_text


@pytest.mark.parametrize(
    ("text", "options", "labels", "patients"),
    [
        (
            NIH,
            {},
            {"00000001_000": 1, "00000001_001": 0, "00000002_000": 0},
            {"00000001_000": "1", "00000001_001": "1", "00000002_000": "2"},
        ),
        (
            CHEXPERT,
            {},
            {"a": 1, "b": 0},
            {"a": "patient00001"} | dict.fromkeys("bcd", "patient00002"),
        ),
        (
            PADCHEST,
            {},
            {"1_a": 1, "1_b": 0, "1_c": 0},
            {"1_a": "77", "1_b": "78", "1_c": "78", "1_d": "79", "1_e": "80"},
        ),
        (VINDR, {}, {"a": 0, "b": 1}, {}),
        (VINDR_IMAGES, {}, {"a": 1, "b": 1}, {}),
        (
            RSNA,
            {"label_column": ("Target",)},
            {"0004cfab": 0, "00436515": 1},
            {},
        ),
    ],
    ids=["nih", "chexpert", "padchest", "vindr_boxes", "vindr_images", "rsna"],
)
def test_public_sets(read, text, options, labels, patients):
    found = read(text, **options)
    assert found.labels == labels
    assert found.patients == patients
    assert not found.faults


def test_columns_by_name(read):
    text = "film,who,what\nx.dcm,7,yes\ny.dcm,7,no\n"
    columns = {"id_column": "film", "label_column": ("what",), "positive": ("YES",)}
    found = read(text, **columns, patient_column="who")
    assert found.labels == {"x": 1, "y": 0}
    assert found.patients == {"x": "7", "y": "7"}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("film,Pneumothorax\nx,1\n", {}, "of image ids among film, Pneumothorax; name"),
        ("ImageId,x\na,1\n", {}, "of labels among ImageId, x; name it with --label_"),
        # Pneumonia, not pneumothorax.
        (RSNA, {}, "no known column of labels"),
        ("ImageId,Pneumothorax\na,1\n", {"views": ("PA",)}, "of views for --views"),
        ("ImageId,Pneumothorax\na,1\n,1\n", {}, "line 3: no image id"),
        (NIH, {"views": ("PA", "AQ")}, "has the view 'AQ' in its column 'View"),
        (NIH, {"patient_column": "who"}, "no column 'who'"),
        (NIH, {"positive": ("Nodule",)}, "no cell of column 'Finding Labels'"),
    ],
)
def test_what_is_missing_is_asked_for(read, text, options, message):
    with pytest.raises(CommandError, match=message) as e:
        read(text, **options)
    assert e.value.exit_code == ExitCode.FLAGS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"a": 1, "b": 0}),
        ({"uncertain": "positive"}, {"a": 1, "b": 0, "c": 1}),
        ({"uncertain": "negative"}, {"a": 1, "b": 0, "c": 0}),
        ({"unmentioned": "negative"}, {"a": 1, "b": 0, "d": 0}),
        ({"views": ("Frontal",), "view_column": "Frontal/Lateral"}, {"a": 1, "b": 0}),
        ({"views": ("pa",), "uncertain": "positive"}, {"b": 0, "c": 1}),
    ],
)
def test_policies(read, options, expected):
    found = read(CHEXPERT, **options)
    assert found.labels == expected
    assert found.left_out.keys() == set("abcd") - expected.keys()


def test_what_is_left_out_is_counted(read, caplog):
    caplog.set_level("INFO")
    found = read(PADCHEST, views=("PA", "AP_horizontal"))
    caplog.clear()
    found.log_left_out(["1_a", "1_b", "1_d", "1_e", "not_in_the_csv"])
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("1 images are left out: another view")
    assert told[1].startswith("2 images are left out: no word on the finding")
    assert "--unmentioned=negative" in told[1]


@pytest.mark.parametrize("unmentioned", ["exclude", "negative"])
def test_a_blank_cell_beside_a_label_changes_nothing(read, unmentioned):
    text = "ImageId,Pneumothorax\na,1\na,\nb,\nb,0\nc,-1\nc,0\n"
    assert read(text, unmentioned=unmentioned).labels == {"a": 1, "b": 0}


def test_several_columns(read):
    text = "ImageId,Pneumothorax,Hydropneumothorax\na,0,1\nb,0,0\nc,,\nd,0,-1\n"
    columns = ("Pneumothorax", "Hydropneumothorax")
    assert read(text, label_column=columns).labels == {"a": 1, "b": 0}


def test_boxes_of_several_findings_are_no_conflict(read):
    found = read("image_id,class_name\na,Pneumothorax\na,Mass\nb,Mass\n")
    assert found.labels == {"a": 1, "b": 0}
    assert not found.faults


def test_a_conflict_names_its_lines(read):
    found = read("ImageId,Pneumothorax\na,1\nb,0\na,0\n")
    assert found.labels == {"b": 0}
    assert found.faults["a"].code == "LABEL_CONFLICT"
    assert "lines 2, 4" in found.faults["a"].reason


def test_a_majority_of_readers(read):
    assert read(VINDR, readers="majority").labels == {"a": 0, "b": 0}
    assert read(VINDR_IMAGES, readers="majority").labels == {"a": 0, "b": 1}
    silent = "image_id,rad_id,Pneumothorax\na,R1,1\na,R2,\nb,R1,1\nb,R2,0\nc,R1,\n"
    assert read(silent, readers="majority").labels == {"a": 1, "b": 0}


def test_the_log_says_which_columns_are_used(read, caplog):
    caplog.set_level("INFO")
    read(NIH)
    assert "labels 3 images, 1 of them positive, by Finding Labels" in caplog.text
    assert "Patient ID names the patients of 3 images" in caplog.text
    caplog.clear()
    read(RSNA, label_column=("Target",))
    assert "--patient_column would keep" in caplog.text
    caplog.clear()
    read(CHEXPERT, view_column="Frontal/Lateral")
    assert "1 of 4 images are of another view" in caplog.text


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("00000001_000.png", "00000001_000"),
        ("CheXpert/train/patient1/view1_frontal.jpg", "view1_frontal"),
        ("a\\b\\1.2.840.DCM", "1.2.840"),
        ("x.dicom", "x"),
        ("x.dcm.gz", "x"),
    ],
)
def test_key_of(cell, expected):
    assert image_labels.key_of(cell) == expected


def test_a_patient_s_folder_in_mimic(read):
    text = "Path,Pneumothorax\nfiles/p10/p10000032/s50414267/x.jpg,1\nfiles/q/y.jpg,0\n"
    assert read(text).patients == {"x": "p10000032"}


def test_csvs_are_not_joined_by_the_label(tmp_path):
    labels, views = tmp_path / "labels.csv", tmp_path / "views.csv"
    labels.write_text("ImageId,Pneumothorax\na,1\nb,0\n")
    views.write_text("name,Pneumothorax,View Position\nx,1,PA\ny,0,AP\n")
    config = ConvertConfig(
        source=pathlib.Path("films"),
        label_csv=(labels, views),
        output=tmp_path / "out",
        num_workers=1,
    )
    with pytest.raises(CommandError, match="names images or studies .* Pneumothorax"):
        image_labels.read(config)


def test_every_finding_that_is_a_column_counts(read):
    text = "Path,pneumothorax,Effusion\na.jpg,0,1\nb.jpg,0,0\nc.jpg,0,\nd.jpg,1,\n"
    found = read(text, positive=("Pneumothorax", "effusion"))
    # Nothing is said of the effusion of c.
    assert found.labels == {"a": 1, "b": 0, "d": 1}
    with pytest.raises(CommandError, match="no column of Mass, but one of pneumo"):
        read(text, positive=("Pneumothorax", "Mass"))


@pytest.mark.parametrize("column", ["class", "Labels"])
def test_numbers_do_not_say_of_which_finding(read, column):
    text = f"ImageId,{column}\na,1\nb,0\n"
    with pytest.raises(CommandError, match="does not say of which finding"):
        read(text)
    assert read(text, label_column=(column,)).labels == {"a": 1, "b": 0}


def test_patients_with_a_slash_are_kept(read):
    text = "ImageId,Patient ID,Pneumothorax\na,12/3,1\nb,12/3,0\n"
    assert read(text).patients == {"a": "12/3", "b": "12/3"}


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (("1", "-1", "-1"), {}),
        (("0", "-1", "-1"), {}),
        (("0", "0", "-1"), {"a": 0}),
        (("1", "1", "-1"), {"a": 1}),
        (("1", "0", ""), {"a": 0}),
    ],
)
def test_a_majority_is_of_all_who_say_anything(read, cells, labels):
    rows = "".join(f"a,r{k},{cell}\n" for k, cell in enumerate(cells))
    text = f"ImageId,rad_id,Pneumothorax\n{rows}b,r0,1\n"
    assert read(text, readers="majority").labels == {**labels, "b": 1}


def test_a_one_that_is_asked_for_leaves_minus_one_uncertain(read):
    text = "ImageId,x\na,1\nb,0\nc,-1\nd,\n"
    found = read(text, label_column=("x",), positive=("1",))
    assert found.labels == {"a": 1, "b": 0}
