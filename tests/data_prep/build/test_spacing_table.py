"""spacing.csv holds the size of the pixels of the films that name one."""

import pytest

from data_prep.build import spacing_table
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.pixels.dicom_spacing import ODD
from data_prep.pixels.dicom_spacing import Spacing
from tests import dicom_files
from tests.data_prep.build import films

HEADER = "ImageId,spacing_mm,origin\n"


def test_a_conversion_writes_it(tmp_path, monkeypatch):
    films.write(tmp_path / "films", {"png.png": 0})
    for name, text in {"a": r"0.15\0.15", "odd": r"0\0", "none": None}.items():
        data = dicom_files.dataset(films.SIDE)
        if text:
            data.ImagerPixelSpacing = text.split("\\")
        data.PatientID = name
        (tmp_path / "films" / f"{name}.dcm").write_bytes(dicom_files.as_bytes(data))
    config = films.config(
        tmp_path, source=None, rle_csv=None, test_source=tmp_path / "films"
    )
    assert films.run(monkeypatch, config) == ExitCode.DONE
    text = (config.output / "spacing.csv").read_text()
    assert text == HEADER + "a,0.15\\0.15,ImagerPixelSpacing\n" + "odd,,odd\n"
    assert spacing_table.read(config.output) == {
        "a": Spacing(0.15, 0.15, "ImagerPixelSpacing"),
        "odd": Spacing(0.0, 0.0, ODD),
    }


def test_no_table_knows_nothing(tmp_path):
    assert spacing_table.read(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("ImageId,spacing\n", 1), (HEADER + "a,0.1\n", 2)]
    + [(HEADER + r"a,0.1\0.1,x" + f"\nb,{value},x\n", 3) for value in ("", "x", "0.1")]
    + [(HEADER + f"a,{value},x\n", 2) for value in (r"nan\1", r"1\inf", r"0\1")],
)
def test_a_damaged_table_is_refused(tmp_path, text, line):
    (tmp_path / "spacing.csv").write_text(text)
    with pytest.raises(CommandError, match=f"spacing.csv .* from line {line} on") as e:
        spacing_table.read(tmp_path)
    assert e.value.exit_code == ExitCode.CORRUPT
