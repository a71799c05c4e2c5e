"""Parts of one request are no parts of another, and nothing changes what is sealed."""

import json
import pathlib

import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.prediction import joining
from inference.prediction import part_files
from inference.prediction import probability_maps
from inference.prediction.prediction_folder import PredictionFolder
from inference.prediction.probability_maps import ProbabilityMap
from inference.prediction.row import Row

REQUEST = {"tta": ["none"], "keeps_maps": True, "predict_precision": "trained"}
OTHER = REQUEST | {"tta": ["hflip"]}


def a_row(name):
    return Row(image_id=name, rle="-1", probability=0.25)


def a_map(name, value=0.5):
    return ProbabilityMap(
        image_id=name,
        values=np.full((4, 4), value, np.float16),
        source_height=9,
        source_width=9,
        fold=-1,
        classifier=0.25,
    )


def write(folder, index, value=0.5):
    folder.write(index, [a_row(f"i{index}")], [a_map(f"i{index}", value)])


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fails(folder, error, *, sent=True, answered=False):
    def run():
        with folder.claimed() as claim:
            claim.is_sent, claim.is_answered = sent, answered
            raise error

    with pytest.raises(type(error)):
        run()


@pytest.fixture
def claimed(tmp_path):
    folder = PredictionFolder(tmp_path, REQUEST)
    folder.claim()
    return folder


def test_parts_of_another_request_count_as_none(tmp_path, claimed, caplog):
    write(claimed, 0, 0.25)
    # What became of it is not seen here, as on NFS for a minute.
    (tmp_path / "request.json").unlink()
    other = PredictionFolder(tmp_path, OTHER)
    assert not other.has(0)
    assert other.finished(range(100)) == other.finished([0]) == set()
    other.claim()
    assert "had parts of another prediction, which are deleted" in caplog.text
    assert [p.name for p in (tmp_path / "parts").iterdir()] == [other.parts.folder.name]
    # An attempt at the other request goes on.
    with pytest.raises(CommandError, match="takes no parts of this prediction") as e:
        write(claimed, 1)
    assert e.value.exit_code == ExitCode.CONFLICT
    write(other, 0)
    other.join([1])
    sealed = json.loads((tmp_path / "prediction.json").read_text())
    assert sealed["config"] == OTHER
    _, maps = probability_maps.read_folder(tmp_path)
    assert [m.values[0, 0] for m in maps] == [0.5]


def test_maps_of_another_request_are_not_sealed(tmp_path, claimed, caplog):
    for index in range(3):
        write(claimed, index)
    (tmp_path / "request.json").unlink()
    other = PredictionFolder(tmp_path, OTHER | {"keeps_maps": False})
    other.claim()
    other.write(0, [a_row("a")], None)
    other.join([1])
    assert json.loads((tmp_path / "prediction.json").read_text())["parts"] == []
    assert not list((tmp_path / "probabilities").iterdir())
    assert "part-00002.tfrecord is of another prediction" in caplog.text


def test_maps_that_are_not_those_of_their_part(tmp_path, claimed):
    write(claimed, 0)
    path = tmp_path / "probabilities" / "part-00000.tfrecord"
    for replace in (
        lambda: probability_maps.write(path, [a_map("i0", 0.25)]),
        path.unlink,
    ):
        replace()
        with pytest.raises(CommandError, match="part-00000.tfrecord is missing, or"):
            claimed.join([1])
        assert not (tmp_path / "prediction.json").exists()
        # The next call predicts it again.
        assert not claimed.has(0)
        claimed.claim()
        write(claimed, 0)
    claimed.join([1])
    assert claimed.is_sealed()


@pytest.mark.parametrize("what", ["maps", "part"])
def test_an_attempt_changes_nothing_sealed(tmp_path, claimed, what, monkeypatch):
    write(claimed, 0)
    module = probability_maps.shards if what == "maps" else durable
    name = "write" if what == "maps" else "write_json"
    make, sealed = getattr(module, name), {}

    def sealing(path, value, **options):
        """Joins before another attempt at the part begins this file."""
        monkeypatch.setattr(module, name, make)
        claimed.join([1])
        sealed.update(files(tmp_path))
        return make(path, value, **options)

    monkeypatch.setattr(module, name, sealing)
    with pytest.raises(CommandError, match="takes no parts of this prediction"):
        write(claimed, 0, 0.25 if what == "maps" else 0.5)
    assert files(tmp_path) == sealed
    assert len(sealed) > 3


def test_a_file_that_was_begun_before_the_join_never_appears(
    tmp_path, claimed, monkeypatch
):
    write(claimed, 0)
    check, sealed = part_files.PartFiles.check_open, {}
    calls = []

    def joining_later(self):
        check(self)
        calls.append(self)
        if len(calls) == 2:
            # The look that comes before the map is renamed has just said yes.
            unfinished = durable._unfinished.copy()
            durable._unfinished.clear()
            claimed.join([1])
            durable._unfinished.update(unfinished)
            sealed.update(files(tmp_path))

    monkeypatch.setattr(part_files.PartFiles, "check_open", joining_later)
    with pytest.raises(CommandError, match="another run has taken over"):
        write(claimed, 0, 0.25)
    assert files(tmp_path) == sealed


def test_a_request_stays_once_units_may_have_been_predicted(tmp_path):
    lost = CommandError(ExitCode.ENVIRONMENT, "a node was lost", fix="x")
    bad = CommandError(ExitCode.FLAGS, "a bad member", fix="x")
    folder = PredictionFolder(tmp_path, REQUEST)
    request = tmp_path / "request.json"
    fails(folder, lost, sent=False)
    assert not request.exists()
    fails(folder, bad)
    assert not request.exists()
    with pytest.raises(CommandError, match="takes no parts"):
        folder.parts.check_open()
    fails(folder, lost)
    assert request.exists()
    request.unlink()
    fails(folder, bad, answered=True)
    assert request.exists()
    with pytest.raises(CommandError, match="tta: stored"):
        PredictionFolder(tmp_path, OTHER).claim()


@pytest.mark.parametrize("is_same", [True, False])
def test_parts_of_an_earlier_release(tmp_path, is_same, caplog):
    durable.write_json(tmp_path / "request.json", REQUEST)
    rows = {"rows": [["i0", "-1", 0.25]]}
    durable.write_json(tmp_path / "parts" / "part-00000.json", rows)
    durable.write_json(tmp_path / "parts" / "precision.json", {"images": 1})
    path = tmp_path / "probabilities" / "part-00000.tfrecord"
    probability_maps.write(path, [a_map("i0")])
    if not is_same:
        # Nobody knows what they were made with.
        (tmp_path / "request.json").unlink()
    folder = PredictionFolder(tmp_path, REQUEST)
    folder.resume()
    assert folder.has(0) == is_same
    folder.claim()
    assert folder.has(0) == is_same
    if is_same:
        folder.join([1])
        sealed = json.loads((tmp_path / "prediction.json").read_text())
        assert sealed["against_float32"] == {"images": 1}
        assert [p["name"] for p in sealed["parts"]] == [path.name]
    else:
        assert "had parts of another prediction" in caplog.text
        assert not list((tmp_path / "parts").glob("part-*"))


def test_the_folder_is_listed_once_for_many_parts(tmp_path, claimed, monkeypatch):
    for index in (0, 7, 99_999, 100_000):
        claimed.parts.write(index, {"rows": []})
    (claimed.parts.folder / "part-00001.json.tmp").touch()
    listed, iterdir = [], pathlib.Path.iterdir
    monkeypatch.setattr(claimed.parts, "path", None)

    def watched(self):
        listed.append(self)
        return iterdir(self)

    monkeypatch.setattr(pathlib.Path, "iterdir", watched)
    wanted = range(1, 156_000)
    assert claimed.finished(wanted) == {7, 99_999, 100_000}
    assert listed == [claimed.parts.folder]


def test_each_part_is_read_once(tmp_path, claimed, monkeypatch):
    for index in range(5):
        write(claimed, index)
    read, names = durable.read_json, []

    def watched(path, *, fix):
        names.append(path.name)
        return read(path, fix=fix)

    monkeypatch.setattr(durable, "read_json", watched)
    claimed.join([1] * 5)
    assert sorted(names) == [f"part-0000{k}.json" for k in range(5)]
    for name in (joining.SUBMISSION, joining.CLASSIFICATION):
        assert (tmp_path / name).read_text().count("\n") == 6


@pytest.mark.parametrize("is_chance", [True, False])
def test_an_image_that_appears_twice(tmp_path, claimed, is_chance, monkeypatch):
    # All ids have one hash.
    monkeypatch.setattr(joining, "_hash", lambda image_id: 7)
    names = ["a", "b", "c" if is_chance else "a"]
    for index, name in enumerate(names):
        claimed.write(index, [a_row(name)], [a_map(name)])
    if is_chance:
        claimed.join([1] * 3)
        assert claimed.is_sealed()
        return
    with pytest.raises(CommandError, match="image a is in the dataset twice"):
        claimed.join([1] * 3)
    assert not (tmp_path / joining.SUBMISSION).exists()


def test_a_store_has_the_bytes_of_a_local_folder(tmp_path):
    pytest.importorskip("fsspec")
    store = remote.parse("memory://predictions/one")
    count = 3 * joining._THREADS
    for output in (tmp_path, store):
        folder = PredictionFolder(output, REQUEST)
        folder.claim()
        for index in range(count):
            write(folder, index)
        assert folder.finished(range(count + 9)) == set(range(count))
        folder.join([1] * count)
        with pytest.raises(CommandError, match="takes no parts"):
            write(folder, 0)
        folder.drop_parts()
    local = {p.relative_to(tmp_path).as_posix(): p for p in files(tmp_path)}
    assert "submission.csv" in local
    stored = {p.relative_to(store).as_posix(): p.read_bytes() for p in store.files()}
    local.pop(".lock", None)
    assert stored == {name: path.read_bytes() for name, path in local.items()}
