import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels.label_table import LabelTable


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_rows_have_the_wanted_columns(tmp_path):
    table = LabelTable([write(tmp_path / "a.csv", " id , x,y", "1, a ,b", "", "2,c,d")])
    assert table.columns == ["id", "x", "y"]
    rows = [(row.line, row.cells) for row in table.rows(["id", "x"])]
    assert rows == [(2, {"id": "1", "x": "a"}), (4, {"id": "2", "x": "c"})]


def test_studies_are_joined_with_their_images(tmp_path, caplog):
    caplog.set_level("INFO")
    studies = write(
        tmp_path / "chexpert.csv",
        "subject_id,study_id,Pneumothorax",
        "1,10,1.0",
        "1,11,",
        "2,10,0.0",
        "3,12,1.0",
    )
    images = write(
        tmp_path / "metadata.csv",
        "dicom_id,subject_id,study_id,ViewPosition",
        "a,1,10,PA",
        "b,1,10,LATERAL",
        "c,1,11,AP",
        "d,2,10,AP",
    )
    table = LabelTable([studies, images])
    found = {
        row.cells["dicom_id"]: (row.line, row.cells["Pneumothorax"])
        for row in table.rows(["dicom_id", "Pneumothorax"])
    }
    assert found == {"a": (2, "1.0"), "b": (2, "1.0"), "c": (3, ""), "d": (4, "0.0")}
    assert "1 rows of" in caplog.text


def test_nothing_to_join_on(tmp_path):
    a, b = write(tmp_path / "a.csv", "id,x", "1,2"), write(tmp_path / "b.csv", "y", "1")
    with pytest.raises(CommandError, match="has no column that the csvs before it"):
        LabelTable([a, b])


@pytest.mark.parametrize(
    ("row", "message"), [("1", "line 2: 1 cells"), ("1,2,3", "line 2: 3 cells")]
)
def test_a_row_that_does_not_fit(tmp_path, row, message):
    table = LabelTable([write(tmp_path / "a.csv", "id,x", row)])
    with pytest.raises(CommandError, match=message) as e:
        list(table.rows(["id", "x"]))
    assert e.value.exit_code == ExitCode.FLAGS


def test_blank_cells_beyond_the_header_are_none(tmp_path):
    table = LabelTable([write(tmp_path / "a.csv", "id,x", "1,2,")])
    assert [row.cells for row in table.rows(["id"])] == [{"id": "1"}]


def test_a_column_is_given_or_known(tmp_path):
    table = LabelTable([write(tmp_path / "a.csv", "x,Path,dicom_id")])
    known = ("dicom_id", "Path")
    assert table.choose("", known) == "dicom_id"
    assert table.choose("x", known) == "x"
    assert table.choose("", ("other",)) is None
    with pytest.raises(CommandError, match="no column 'X' among x, Path, dicom_id"):
        table.choose("X", known)


def test_an_empty_csv(tmp_path):
    with pytest.raises(CommandError, match="has no row"):
        LabelTable([write(tmp_path / "a.csv")])
