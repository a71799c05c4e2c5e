"""The folder of films beside a page, from a prediction that nobody has computed."""

import cv2
import numpy as np
import pytest

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from data_prep.dataset.schema import Record
from inference.prediction import film_files
from inference.prediction import images_csv
from inference.prediction import joining
from inference.prediction import probability_maps
from inference.prediction import shown_facts
from inference.prediction import submission
from inference.prediction.images_csv import ImageRow
from inference.prediction.probability_maps import ProbabilityMap
from tests.inference.report.test_film_index import listed

SIZE = 8
IDS = ("a", "B.2", "b.2", "gated")
WITH_MAPS = IDS[:3]


def image_of(k):
    return np.full((SIZE, SIZE), 50 * k, np.uint8)


def mask_of(k):
    """Returns a mask of 6 x 12 with k pixels."""
    mask = np.zeros((6, 12), np.uint8)
    mask.flat[: 3 * k : 3] = 1
    return mask


def predicted(folder, *, keeps_maps=True, of=WITH_MAPS, **config):
    """Writes a finished prediction."""
    folder.mkdir(exist_ok=True)
    rows = [(i, rle.encode(mask_of(k))) for k, i in enumerate(IDS)]
    submission.write(folder / joining.SUBMISSION, rows)
    if keeps_maps:
        maps = [
            ProbabilityMap(
                image_id=i,
                values=np.full((4, 4), (k + 1) / 8, np.float16),
                source_height=6,
                source_width=12,
                fold=-1,
                classifier=None,
            )
            for k, i in enumerate(of)
        ]
        path = folder / probability_maps.FOLDER / probability_maps.part_name(0)
        probability_maps.write(path, maps)
    probability_maps.seal(folder, config, files={joining.SUBMISSION: str(config)})
    return folder


def write(output, *, keeps_maps=True, aspect="pad", until=None):
    """Writes the folder; stops before film `until` as a killed call does."""
    films = film_files.FilmFiles(
        output, aspect=aspect, keeps_maps=keeps_maps, facts=shown_facts.read(output)
    )
    with films.listed():
        for k, image_id in enumerate(IDS):
            if k == until:
                raise KeyboardInterrupt
            record = Record(
                **{"image_id": image_id, "pixels": b"", "mask_bits": None},
                **{"source_height": 6, "source_width": 12},
                **{"label": -1, "fold": -1, "group": ""},
            )
            films.add(record, image_of(k), mask_of(k), None)


def contents(output):
    folder = output / film_files.FOLDER
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def test_files_of_each_film(tmp_path):
    output = predicted(tmp_path / "out")
    write(output)
    films = listed(output / "films" / "films.js")
    assert [f["id"] for f in films] == list(IDS)
    assert [f["area"] for f in films] == [0, 1, 2, 3]
    assert [f["heat"] for f in films] == [True, True, True, False]
    assert [f.get("probability") for f in films] == [0.125, 0.25, 0.375, None]
    assert {(f["width"], f["height"], f["ratio"]) for f in films} == {(12, 6, 1)}
    stems = [f["file"] for f in films]
    expected = {"films.js", "made_from.json"}
    expected |= {f"pictures/{s}.png" for s in stems}
    expected |= {f"thumbs/{s}.jpg" for s in stems}
    expected |= {f"masks/{s}.png" for s in stems[1:]}
    expected |= {f"heat/{s}.png" for s in stems[:3]}
    found = contents(output)
    assert set(found) == expected
    for k, stem in enumerate(stems):
        encoded = np.frombuffer(found[f"pictures/{stem}.png"], np.uint8)
        np.testing.assert_array_equal(cv2.imdecode(encoded, -1), image_of(k))


def test_a_stretched_film_gets_its_shape_back(tmp_path):
    output = predicted(tmp_path / "out", keeps_maps=False)
    write(output, keeps_maps=False, aspect="stretch")
    films = listed(output / "films" / "films.js")
    assert {f["ratio"] for f in films} == {2}
    assert not any(f["heat"] for f in films)
    assert '"keepsMaps":false' in (output / "films" / "films.js").read_text()


def test_a_stopped_call_goes_on_and_the_bytes_are_the_same(tmp_path):
    whole, stopped = predicted(tmp_path / "whole"), predicted(tmp_path / "stopped")
    write(whole)
    with pytest.raises(KeyboardInterrupt):
        write(stopped, until=2)
    assert not (stopped / "films" / "films.js").exists()
    kept = stopped / "films" / "pictures" / "a.png"
    before = kept.stat()
    write(stopped)
    assert contents(stopped) == contents(whole)
    after = kept.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_films_of_an_earlier_prediction_are_replaced(tmp_path, caplog):
    output = predicted(tmp_path / "out", postprocess="old")
    write(output)
    stale = output / "films" / "masks" / "of-a-film-that-is-gone.png"
    stale.write_bytes(b"old")
    (output / "films" / "masks" / "b.2.png").write_bytes(b"old")
    predicted(output, postprocess="new")
    with caplog.at_level("WARNING"):
        write(output)
    assert "is of another prediction" in caplog.text
    assert not stale.exists()
    fresh = predicted(tmp_path / "fresh", postprocess="new")
    write(fresh)
    assert contents(output) == contents(fresh)


def test_a_folder_of_somebody_else_is_refused_and_stays(tmp_path):
    mine = tmp_path / "films" / "patient.dcm"
    film_files.refuse_foreign(tmp_path)
    mine.parent.mkdir()
    film_files.refuse_foreign(tmp_path)
    mine.write_bytes(b"film")
    with pytest.raises(CommandError, match="not of a prediction") as caught:
        film_files.refuse_foreign(tmp_path)
    assert caught.value.exit_code == ExitCode.CONFLICT
    predicted(tmp_path, keeps_maps=False)
    with pytest.raises(CommandError, match="not of a prediction"):
        write(tmp_path, keeps_maps=False)
    assert mine.read_bytes() == b"film"
    assert list(mine.parent.iterdir()) == [mine]


def test_a_store_gets_the_same_files(tmp_path, cache):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    local = predicted(tmp_path / "out", postprocess="old")
    write(local)
    stored = predicted(remote.parse("memory://viewer/out"), postprocess="old")
    write(stored)

    def found():
        paths = (stored / film_files.FOLDER).files()
        return {str(p).split("/films/")[1]: p.read_bytes() for p in paths}

    assert found() == contents(local)
    # Of another prediction: nothing of the earlier one stays.
    predicted(stored, keeps_maps=False, postprocess="new")
    write(stored, keeps_maps=False)
    assert not any(name.startswith("heat/") for name in found())


def test_a_map_at_another_place_is_an_error(tmp_path):
    output = predicted(tmp_path / "out", of=("B.2", "a", "b.2"))
    with pytest.raises(CommandError, match="has a map of a that is not at the place"):
        write(output)
    assert not (output / "films" / "films.js").exists()


def test_the_table_of_images_is_shown_without_seconds(tmp_path):
    output = predicted(tmp_path / "out", keeps_maps=False)
    with images_csv.writing(output / images_csv.FILE_NAME) as add:
        warnings = ("unlike", "no_spacing")
        known = {"probability": 0.5, "area_px": 0, "regions": 0, "guard": 1.25}
        add(ImageRow(image_id="a", **known, seconds=0.123, warnings=warnings))
        known = {"probability": 0.75, "area_px": 1, "regions": 1, "area_mm2": 0.02}
        add(ImageRow(image_id="B.2", **known, side="left", seconds=0.123))
    write(output, keeps_maps=False)
    first, second, third, _ = listed(output / "films" / "films.js")
    common = {"width": 12, "height": 6, "ratio": 1, "heat": False}
    assert first == common | {
        **{"id": "a", "file": "a", "area": 0, "probability": 0.5, "regions": 0},
        **{"guard": 1.25, "warnings": "unlike, no_spacing"},
    }
    assert second.pop("file").endswith("~B.2")
    assert second == common | {
        **{"id": "B.2", "area": 1, "probability": 0.75, "area_mm2": 0.02},
        **{"side": "left", "regions": 1},
    }
    assert "probability" not in third
    assert "0.123" not in (output / "films" / "films.js").read_text()


def test_a_damaged_table_is_an_error_that_names_it(tmp_path):
    (tmp_path / "images.csv").write_text("ImageId,regions\na,1\nb,two\n")
    with pytest.raises(CommandError, match=r"images.csv has other cells"):
        shown_facts.read(tmp_path)
    assert shown_facts.read(tmp_path / "of_an_earlier_version") == {}
