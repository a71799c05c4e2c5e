import pathlib

from data_prep.core.errors import InputError
from data_prep.source import quarantine


def test_names_of_others_are_no_formulas_and_come_back(tmp_path):
    root = pathlib.Path("/films")
    found = quarantine.Quarantine(root)
    error = InputError("IMG_EMPTY", "a; -b", fix="get it again")
    names = ["=cmd|' calc'!A0", "-1.dcm", "\t=1", "a;=1", "a.dcm"]
    for name in names:
        # A film elsewhere is known by its name alone, which then begins the cell.
        found.add(pathlib.Path("/elsewhere", name), error)
    found.write(tmp_path)
    text = (tmp_path / quarantine.FILE_NAME).read_text()
    cells = [line.split(",")[0] for line in text.splitlines()[1:]]
    assert sorted(cells) == sorted(
        ["'=cmd|' calc'!A0", "'-1.dcm", r"\t=1", "a;'=1", "a.dcm"]
    )
    assert quarantine.read(tmp_path) == found.rows()
    assert {row[0] for row in found.rows()} == {*names[:2], r"\t=1", *names[3:]}
