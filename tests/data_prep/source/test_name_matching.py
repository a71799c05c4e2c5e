import pathlib

import pytest

from data_prep.core.errors import CommandError
from data_prep.source.name_matching import Resolver

CSV = pathlib.Path("some.csv")
BY_PATH = {
    "p1-x": "p1/study1/view1.jpg",
    "p2-x": "p2/study1/view1.jpg",
    "p3-x": "p3/study2/view2.jpg",
    "top": "top.jpg",
}
BY_STEM = {"1.2": "a/b/1.2.dcm", "0001_000": "images_01/0001_000.png"}


@pytest.mark.parametrize(
    ("cell", "image_id"),
    [
        ("p1/study1/view1.jpg", "p1-x"),
        ("p1/study1/view1", "p1-x"),
        ("p1\\study1\\view1.JPG", "p1-x"),
        ("./p1/study1/view1.dcm", "p1-x"),
        ("CheXpert-v1.0/train/p2/study1/view1.jpg", "p2-x"),
        ("p1-x", "p1-x"),
        ("view2.jpg", "p3-x"),
        ("study2/view2", "p3-x"),
        ("top.png", "top"),
        # Nothing says that this is the other one.
        ("p4/study2/view2.jpg", "p4/study2/view2.jpg"),
        ("iew2.jpg", "iew2.jpg"),
        ("", ""),
    ],
)
def test_a_cell_means_the_name_that_ends_with_it(cell, image_id):
    resolve = Resolver(BY_PATH, by_stem=False)
    assert resolve(cell) == image_id
    assert not resolve.unclear()


@pytest.mark.parametrize("cell", ["1.2", "1.2.dcm", "x/1.2.png", "1.2.dcm.gz"])
def test_folders_do_not_count_where_ids_are_stems(cell):
    assert Resolver(BY_STEM, by_stem=True)(cell) == "1.2"


def test_a_cell_that_fits_several_images_is_no_ones():
    resolve = Resolver(BY_PATH, by_stem=False)
    assert resolve("view1.jpg") == "view1.jpg"
    assert resolve.ambiguous == {"view1.jpg"}
    assert resolve.unclear().keys() == {"p1-x", "p2-x"}


def test_an_image_that_several_cells_fit_is_unclear():
    resolve = Resolver({"view1": "view1.png"}, by_stem=True)
    assert resolve("p1/study1/view1.jpg") == resolve("p2/study1/view1.jpg") == "view1"
    assert "2 different names" in resolve.unclear()["view1"]


def test_a_whole_name_comes_before_the_end_of_another():
    resolve = Resolver({"a": "a.png", "b-a": "b/a.png"}, by_stem=False)
    assert (resolve("a.png"), resolve("b/a.png")) == ("a", "b-a")
    assert not resolve.unclear()


def test_values_keep_cells_of_no_image():
    resolve = Resolver(BY_STEM, by_stem=True)
    values = {"x/1.2.dcm": "patient", "9.9": "other"}
    assert resolve.values_of(values, CSV) == {"1.2": "patient", "9.9": "other"}


def test_unclear_values_are_refused():
    resolve = Resolver(BY_PATH, by_stem=False)
    with pytest.raises(CommandError, match="some.csv is not clear about image p1-x"):
        resolve.values_of({"view1.jpg": "0"}, CSV)


@pytest.mark.parametrize("by_stem", [True, False])
def test_a_file_that_is_named_as_the_id_of_another_is_ambiguous(by_stem):
    resolve = Resolver({"a": "x/a.dcm", "a.dcm": "x/a.dcm.dcm"}, by_stem=True)
    if not by_stem:
        resolve = Resolver({"a": "a.dcm", "a.dcm": "a.dcm.dcm"}, by_stem=False)
    resolve("a.dcm")
    assert resolve.ambiguous == {"a.dcm"}
    assert resolve.unclear().keys() == {"a", "a.dcm"}
