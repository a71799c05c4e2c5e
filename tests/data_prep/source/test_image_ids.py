import io
import pathlib
import unicodedata

import pytest

from data_prep.core.errors import InputError
from data_prep.labels.rle_csv import ID
from data_prep.source import image_ids
from data_prep.source.source_file import SourceFile
from tests import dicom_files


def ids(id_from, *names):
    folder = pathlib.Path("/source")
    id_of = image_ids.id_of(id_from)
    return [id_of(SourceFile(path=folder / n, kind="png"), folder) for n in names]


def test_names_that_are_ids_stay():
    assert ids("stem", "a/1.2.840.dcm", "b/film_1.png", "c/IM0001") == [
        "1.2.840",
        "film_1",
        "IM0001",
    ]
    assert ids("path", "film_1.png") == ["film_1"]


def test_ids_of_other_names_are_stable():
    # Datasets and csvs of users hold them.
    assert ids("stem", "Müller 3.png") == ["Muller-3-2d2706199074"]
    assert ids("path", "patient00001/study1/view1_frontal.jpg") == [
        "patient00001-study1-view1_frontal-ce857be1cd64"
    ]


NAMES = [
    "a/b-c",
    "a-b/c",
    "a/b/c",
    "a b c",
    "ä",
    "ö",
    "影像",
    "影",
    "-",
    " x",
    "=1+1",
    "x" * 65,
    "x" * 66,
    "y" + "x" * 65,
    "bad\udcff",
]


def test_other_names_get_ids_that_differ():
    fitted = [image_ids.fit(name) for name in NAMES]
    assert all(ID.fullmatch(image_id) for image_id in fitted), fitted
    assert len(set(fitted)) == len(NAMES)


def test_one_name_has_one_id_on_every_file_system():
    composed, decomposed = (unicodedata.normalize(f, "März") for f in ("NFC", "NFD"))
    assert composed != decomposed
    assert image_ids.fit(composed) == image_ids.fit(decomposed)


@pytest.fixture
def header_id(tmp_path):
    def read(kind="dicom", **fields):
        path = tmp_path / "x"
        data = dicom_files.dataset()
        for name, value in fields.items():
            setattr(data, name, value)
        path.write_bytes(dicom_files.as_bytes(data))
        return image_ids.read_sop_instance_uid(SourceFile(path=path, kind=kind))

    return read


def test_the_header_has_the_id(header_id):
    assert header_id(SOPInstanceUID="1.2.3") == "1.2.3"


@pytest.mark.parametrize(("kind", "uid"), [("dicom", ""), ("png", "1.2.3")])
def test_files_without_the_id_are_refused(header_id, kind, uid):
    with pytest.raises(InputError) as e:
        header_id(kind, SOPInstanceUID=uid)
    assert e.value.code == "ID_MISSING"
    assert "--id_from=path" in e.value.fix


def test_a_damaged_header_is_refused():
    with pytest.raises(InputError):
        image_ids.dicom.read_sop_instance_uid(io.BytesIO(b"DICM"))
