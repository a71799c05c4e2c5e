import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import fold_lists


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_list_k_is_fold_k(tmp_path):
    first = write(
        tmp_path / "test_list.txt", "00000013_004.png", "a/b/00000013_026.png"
    )
    second = write(
        tmp_path / "train_val_list.csv", "Image Index,x", "00000001_000.png,1"
    )
    assert fold_lists.read([first, second]) == {
        "00000013_004": 0,
        "00000013_026": 0,
        "00000001_000": 1,
    }


def test_an_image_in_two_lists(tmp_path):
    first = write(tmp_path / "a.txt", "x.png", "x.png")
    second = write(tmp_path / "b.txt", "y.png", "z/x.png")
    with pytest.raises(CommandError, match=r"b.txt, line 2: .*a.txt, too") as e:
        fold_lists.read([first, second])
    assert e.value.exit_code == ExitCode.FLAGS


def test_an_empty_list(tmp_path):
    with pytest.raises(CommandError, match=r"b.txt has no name"):
        fold_lists.read([write(tmp_path / "a.txt", "x"), write(tmp_path / "b.txt")])
