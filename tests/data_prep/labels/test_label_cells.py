import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import label_cells
from data_prep.labels.label_cells import UNCERTAIN


def read(cells, positive=("Pneumothorax",)):
    reader = label_cells.reader(cells, positive, where="column 'x' of y.csv")
    return [reader(cell) for cell in cells]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # CheXpert and MIMIC-CXR.
        (["1.0", "0.0", "-1.0", ""], [1, 0, UNCERTAIN, None]),
        # VinDr-CXR and RSNA.
        (["1", "0"], [1, 0]),
        (["nan", "1", "None"], [None, 1, None]),
        # NIH ChestX-ray14.
        (
            ["No Finding", "Mass|Pneumothorax", "Mass|Effusion", "pneumothorax", ""],
            [0, 1, 0, 1, None],
        ),
        # PadChest.
        (
            ["['normal']", "['Pneumothorax', 'vascular hilar enlargement']", "[]"],
            [0, 1, None],
        ),
        (
            ["['unchanged']", "['exclude', 'mass']", "['unchanged', 'pneumothorax']"],
            [None, None, 1],
        ),
        # What holds the word may mean it, and a missing label is no negative.
        (["Pneumothorax", "Hydropneumothorax"], [1, UNCERTAIN]),
        (["Pneumothorax", "Effusion;Pneumothorax"], [1, UNCERTAIN]),
        (["Pneumothorax", "small pneumothorax", "Mass"], [1, UNCERTAIN, 0]),
        (["Pneumothorax", "Pneumothoraces", "pneumothorax?"], [1, *[UNCERTAIN] * 2]),
        (["Pneumothorax", "?", "-1", "unknown"], [1, *[UNCERTAIN] * 3]),
        (["Pneumothorax", "No pneumothorax", "No Finding"], [1, 0, 0]),
    ],
)
def test_forms(cells, expected):
    assert read(cells) == expected


def test_a_column_of_blank_cells_makes_no_negative():
    assert read(["", " ".strip(), "nan"]) == [None, None, None]


def test_class_numbers_are_names_where_they_are_asked_for():
    assert read(["12", "14", "3"], positive=("12",)) == [1, 0, 0]
    assert read(["1", "0"], positive=("0",)) == [0, 1]


def test_a_finding_that_no_cell_has():
    with pytest.raises(CommandError, match="no cell of column 'x' of y.csv") as e:
        read(["Mass", "Mass", "Jane Doe"])
    assert e.value.exit_code == ExitCode.FLAGS
    assert "'Mass'; name the finding with --positive" in str(e.value)
    assert "Doe" not in str(e.value), "what only one cell has may be private"


def test_a_broken_list():
    with pytest.raises(CommandError, match="is no list of findings") as e:
        read(["['pneumothorax'", "['mass']"])
    assert "pneumothorax'" not in str(e.value)


def test_cells_that_may_mean_it_are_counted(caplog):
    read(["Pneumothorax", *["Mass; Pneumothorax"] * 3, "J. Doe pneumothorax", "Mass"])
    assert "4 cells of column 'x' of y.csv" in caplog.text
    assert "'Mass; Pneumothorax'" in caplog.text
    # A cell that is there once may hold a name.
    assert "Doe" not in caplog.text
