"""The list of films is a script that no id can break, and file names are safe."""

import json
import re

import pytest

from inference.report import film_index
from inference.report.film_index import Film

HOSTILE = (
    "</script><script>window.broken = 1</script>",
    "\"quotes\" and 'quotes' \\ and\nlines\u2028",
    "<!--<img src=x onerror='window.broken = 1'>",
    "&lt;b&gt; ${1} %2e%2e/../..",
)


def listed(path) -> list[dict]:
    """Reads the list back as JSON, which this part of JavaScript is."""
    text = path.read_text(encoding="ascii")
    found = re.fullmatch(
        r"window\.FILMS_OF = .*;\nwindow\.FILMS = \[\n(.*)\];\n", text, re.DOTALL
    )
    return json.loads(f"[{found[1].rstrip().rstrip(',')}]")


def write(path, films, *, keeps_maps=False):
    with film_index.writing(path, keeps_maps=keeps_maps) as add:
        for film in films:
            add(film)


def film(image_id, **changes):
    fields = {"width": 3, "height": 2, "ratio": 1, "area": 0, "heat": False}
    return Film(id=image_id, **(fields | changes))


def test_ids_come_back_and_end_no_script(tmp_path):
    path = tmp_path / "films.js"
    write(path, [film(i, warnings=i) for i in HOSTILE])
    assert [f["id"] for f in listed(path)] == list(HOSTILE)
    assert [f["warnings"] for f in listed(path)] == list(HOSTILE)
    assert not set("<>&") & set(path.read_text())
    # A line for each film, whatever is in its id.
    assert len(path.read_text().splitlines()) == 3 + len(HOSTILE)


def test_what_is_not_known_is_left_out(tmp_path):
    write(tmp_path / "films.js", [film("a", probability=0.0, regions=0)])
    (seen,) = listed(tmp_path / "films.js")
    assert seen == {
        **{"id": "a", "width": 3, "height": 2, "ratio": 1, "area": 0},
        **{"heat": False, "probability": 0.0, "regions": 0, "file": "a"},
    }


def test_no_number_of_a_film_may_be_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "films.js", [film("a", probability=float("nan"))])
    assert not (tmp_path / "films.js").exists()


def test_an_empty_list(tmp_path):
    write(tmp_path / "films.js", [], keeps_maps=True)
    assert listed(tmp_path / "films.js") == []
    assert '{"keepsMaps":true}' in (tmp_path / "films.js").read_text()


@pytest.mark.parametrize("image_id", ["1.2.276.0-7_x", "a", "a.mask", "films.js"])
def test_usual_ids_are_their_own_names(image_id):
    assert film_index.file_stem(image_id) == image_id


def test_names_are_safe_on_every_disk_and_in_a_url():
    ids = ["A", "a", "Ab", "aB", "ab", "AB", "con", "CON", "nul.x", "lpt1", "conx"]
    ids += ["x" * 64, "X" * 64, "a/b", "a b", "..", "", *HOSTILE]
    names = [film_index.file_stem(i) for i in ids]
    # Different ones even where a disk does not tell capitals from small letters.
    assert len({name.lower() for name in names}) == len(ids)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9._~-]{1,77}", name)
        assert name.partition(".")[0].lower() not in ("con", "nul", "lpt1", "")
