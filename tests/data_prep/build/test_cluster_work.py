"""A conversion by units of work, on engines that need no cluster."""

import concurrent.futures
import copy
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import pickle

import pytest

from data_prep.build import convert
from data_prep.build import header_reader
from data_prep.build import header_unit
from data_prep.build import plan_choice
from data_prep.build import shard_facts
from data_prep.build import shard_unit
from data_prep.build import shard_writing
from data_prep.build import unit_pool
from data_prep.build import work_folder
from data_prep.config import Placement
from data_prep.core import durable
from data_prep.core import shared_files
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.errors import MachineError
from data_prep.executors import choose
from data_prep.source import probe
from tests import dicom_files
from tests.data_prep.build import films
from tests.unit_runner import InProcess

ON_CLUSTER = Placement(cluster="auto")
PATIENT = "Secret^Patient"


class Noting(InProcess):
    """Runs units here, and notes what an engine is given and gives back."""

    def __init__(self):
        self.seen = []

    def run(self, function, units, *, cost_of, resources=None):
        self.seen.append(pickle.dumps((function, units)))
        for unit, name in super().run(function, units, cost_of=cost_of):
            self.seen.append(name)
            yield unit, name

    def note(self):
        return "1 node"


class Processes(Noting):
    """Runs units in two processes; each finished one is done a second time."""

    def run(self, function, units, *, cost_of, resources=None):
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            twice = [pool.submit(function, u) for u in units for _ in range(2)]
            # The last first: an engine keeps no order.
            for unit, future in zip(reversed(units), twice[::-2], strict=True):
                yield unit, future.result()


@pytest.fixture
def engine(monkeypatch):
    made = Noting()
    monkeypatch.setattr(choose, "executor", lambda *_, **__: made)
    monkeypatch.setattr(header_reader, "LARGEST_CHUNK", 3)
    yield made
    unit_pool.close()


@pytest.fixture
def config(tmp_path):
    """Eight DICOM films of five patients, one without, and a damaged file."""
    folder = tmp_path / "films"
    folder.mkdir()
    for k in range(8):
        patient = f"{PATIENT}{k % 5}" if k else ""
        data = dicom_files.native(
            films.film(k), PatientID=patient, SOPInstanceUID=f"1.2.{k}"
        )
        (folder / f"film{k}.dcm").write_bytes(dicom_files.as_bytes(data))
    (folder / "bad.dcm").write_bytes((folder / "film1.dcm").read_bytes()[:400])
    films.write_labels(
        tmp_path / "labels.csv", ["bad", *(f"film{k}" for k in range(8))]
    )
    return films.config(
        tmp_path,
        sizes=(32, 64),
        records_per_shard=2,
        max_bad_fraction=0.5,
        allow_quarantined=9,
    )


def tree(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def expected_of(monkeypatch, config):
    whole = films.replaced(
        config, output=config.output.parent / "whole", placement=Placement()
    )
    assert films.run(monkeypatch, whole) == ExitCode.DONE
    return tree(whole.output)


def on_cluster(config):
    return films.replaced(config, placement=ON_CLUSTER)


@pytest.mark.parametrize("salt", ["", "a-secret-salt"])
@pytest.mark.parametrize("id_from", ["stem", "sop_instance_uid"])
def test_the_bytes_are_those_of_this_machine(
    config, monkeypatch, engine, salt, id_from
):
    config = films.replaced(config, group_salt=salt, id_from=id_from)
    if id_from == "sop_instance_uid":
        films.write_labels(config.rle_csv, [f"1.2.{k}" for k in range(8)])
    expected = expected_of(monkeypatch, config)
    assert films.run(monkeypatch, on_cluster(config)) == ExitCode.DONE
    assert tree(config.output) == expected
    # Nothing but names comes back, and they name no patient.
    names = [seen for seen in engine.seen if isinstance(seen, str)]
    assert len(names) > 6
    assert all(len(name) < 60 for name in names)
    assert not any(PATIENT.encode() in s for s in engine.seen if isinstance(s, bytes))


def test_no_patient_and_no_secret_is_written(config, monkeypatch, engine):
    config = films.replaced(config, group_salt="a-secret-salt")
    with monkeypatch.context() as patch:
        # The work folder as it is before it is deleted.
        patch.setattr(convert.publishing, "publish", _stop)
        patch.setattr(plan_choice.remote, "remove_tree", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, on_cluster(config))
    stored = [p for p in (config.output / ".work").rglob("*") if p.is_file()]
    assert any("headers" in p.parts for p in stored)
    assert any("plan" in p.parts for p in stored)
    for path in stored:
        data = path.read_bytes()
        assert PATIENT.encode() not in data
        assert b"a-secret-salt" not in data
    # The units that read headers are given the secret, and no other.
    given = [s for s in engine.seen if isinstance(s, bytes)]
    with_secret = [b"read_chunk" in s for s in given]
    assert [b"a-secret-salt" in s for s in given] == with_secret
    assert set(with_secret) == {True, False}
    assert not any("a-secret-salt" in s for s in engine.seen if isinstance(s, str))


def test_headers_that_were_read_are_not_read_again(config, monkeypatch, engine, caplog):
    caplog.set_level(logging.INFO)
    expected = expected_of(monkeypatch, config)
    placed = on_cluster(config)
    num_read = _count(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(convert.plan_choice.plan, "_deal", _stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, placed)
    assert num_read() == 9
    # One film of the second chunk is touched: that chunk alone is read again.
    os.utime(config.source / "film4.dcm", ns=(1, 1))
    assert films.run(monkeypatch, placed) == ExitCode.DONE
    assert num_read() == 3
    assert "3 chunks of up to 3 files, of which 2 were read before; 1 node" in (
        caplog.text
    )
    found = tree(config.output)
    # It has the times of the films.
    times = ".inputs.json"
    assert found.pop(times) != expected.pop(times)
    assert found == expected


def _plan_alone(monkeypatch, config):
    """Reads headers; returns {image id: group}."""
    groups = {}

    def stop(tasks, _):
        groups.update({task.image_id: task.group for task in tasks})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(convert.plan_choice.plan, "_deal", stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, config)
    return groups


def test_headers_that_were_read_with_another_secret_are_read_again(
    config, monkeypatch, engine
):
    one = on_cluster(films.replaced(config, group_salt="one"))
    other = films.replaced(one, group_salt="another")
    groups = _plan_alone(monkeypatch, one)
    fresh = films.replaced(other, output=config.output.parent / "fresh")
    expected = _plan_alone(monkeypatch, fresh)
    assert _plan_alone(monkeypatch, other) == expected
    assert not set(groups.values()) & set(expected.values())


def test_headers_that_other_code_has_read_are_read_again(config, monkeypatch, engine):
    placed = on_cluster(config)
    _plan_alone(monkeypatch, placed)
    num_read = _count(monkeypatch)
    _plan_alone(monkeypatch, placed)
    assert num_read() == 0
    monkeypatch.setattr(header_unit.code_hash, "of_this_machine", lambda: "other")
    _plan_alone(monkeypatch, placed)
    assert num_read() == 9


def test_an_attempt_at_an_earlier_pass_ends_late(config, monkeypatch, engine):
    """It accepts all modalities, and the later pass none of these films."""
    placed, late = on_cluster(config), {}
    write_json = durable.write_json

    def keep(path, value, **kwargs):
        if path.name.endswith(".read.json"):
            late[path] = value
        write_json(path, value, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_json", keep)
        assert _plan_alone(patch, placed)

    def then_late(path, value, **kwargs):
        write_json(path, value, **kwargs)
        for earlier, read in late.items():
            write_json(earlier, read)

    monkeypatch.setattr(durable, "write_json", then_late)
    with pytest.raises(CommandError):
        films.run(monkeypatch, films.replaced(placed, modalities=("MR",)))


def test_what_another_machine_has_read_is_waited_for(config, monkeypatch, engine):
    """As NFS shows it: later than its writer has named it."""
    expected = expected_of(monkeypatch, config)
    write_json, hidden, slept = durable.write_json, [], []

    def hide(path, value, **kwargs):
        if path.name.endswith(".read.json") or ".tfrecord-" in path.name:
            hidden.append((path, value))
        else:
            write_json(path, value, **kwargs)

    def show(seconds):
        slept.append(seconds)
        while hidden:
            write_json(*hidden.pop())

    def planned_too(path, value, **kwargs):
        (write_json if "plan" in path.parts else hide)(path, value, **kwargs)

    monkeypatch.setattr(durable, "write_json", planned_too)
    monkeypatch.setattr(shared_files.time, "sleep", show)
    assert films.run(monkeypatch, on_cluster(config)) == ExitCode.DONE
    assert len(slept) > 1
    assert tree(config.output) == expected


def test_what_is_never_seen_is_told(config, monkeypatch, engine):
    monkeypatch.setattr(shared_files, "SECONDS", 0)
    monkeypatch.setattr(shard_unit.Attempt, "write_facts", lambda *_: None)
    with pytest.raises(CommandError, match="does not have what they wrote") as refused:
        films.run(monkeypatch, on_cluster(config))
    assert refused.value.exit_code == ExitCode.ENVIRONMENT


def test_a_chunk_that_the_machine_failed_is_read_again(config, monkeypatch, engine):
    placed = on_cluster(config)
    num_read = _count(monkeypatch)
    read = header_unit.read_header_facts

    def failing(probed):
        if probed.file.path.name == "film4.dcm":
            raise InputError("NO_MEMORY", "a reason", fix="a fix")
        return read(probed)

    with monkeypatch.context() as patch:
        patch.setattr(header_unit, "read_header_facts", failing)
        patch.setattr(convert.plan_choice.plan, "_deal", _stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, placed)
    num_read()
    assert films.run(monkeypatch, placed) == ExitCode.DONE
    assert num_read() == 3
    rows = (config.output / "quarantine.csv").read_text()
    assert "NO_MEMORY" not in rows


def test_the_driver_is_stopped_between_shards(config, monkeypatch, engine):
    expected = expected_of(monkeypatch, config)
    placed = on_cluster(config)
    write_shard = shard_writing._write_shard
    done = []

    def stopping(unit_config, shard, outcomes):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(shard.name)
        return write_shard(unit_config, shard, outcomes)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writing, "_write_shard", stopping)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, placed)
    num_read = _count(monkeypatch)
    # This machine alone finishes what the cluster has begun.
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert num_read() == 0
    assert tree(config.output) == expected


def test_the_longest_shards_come_first(config, monkeypatch, engine):
    films.write(config.source.parent / "test", {"one.png": 30})
    placed = on_cluster(
        films.replaced(config, test_source=config.source.parent / "test")
    )
    assert films.run(monkeypatch, placed) == ExitCode.DONE
    names = [s for s in engine.seen if isinstance(s, str) and "tfrecord" in s]
    folder = config.output / "64"
    counts = {
        s["name"]: s["num_records"]
        for s in json.loads((folder / "dataset.json").read_text())["shards"]
    }
    in_order = [counts[name] for name in names]
    assert in_order == sorted(in_order, reverse=True)
    assert len(set(in_order)) > 1


def test_a_finished_shard_is_not_written_twice(config, monkeypatch, engine):
    with monkeypatch.context() as patch:
        patch.setattr(convert.publishing, "publish", _stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, on_cluster(config))
    names = [s for s in engine.seen if isinstance(s, str) and "tfrecord" in s]
    monkeypatch.setattr(shard_unit.plan_store, "read_shard", _stop)
    building = work_folder.building(config)
    assert shard_unit.convert_shard(config, building, names[0]) == names[0]


def test_a_unit_of_another_plan_is_refused(config, monkeypatch, engine):
    monkeypatch.setattr(shared_files, "SECONDS", 0)
    run = engine.run

    def replacing(function, units, **kwargs):
        if function.func is shard_unit.convert_shard:
            head = work_folder.plan_head(config)
            durable.write_json(head, {"of": "another conversion"})
        return run(function, units, **kwargs)

    monkeypatch.setattr(engine, "run", replacing)
    with pytest.raises(CommandError) as refused:
        films.run(monkeypatch, on_cluster(config))
    assert refused.value.exit_code == ExitCode.CONFLICT
    assert not list(config.output.glob("*/*.tfrecord*"))


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_machine_that_loses_the_source_gives_its_unit_back(
    config, monkeypatch, engine, left
):
    with monkeypatch.context() as patch:
        patch.setattr(convert.publishing, "publish", _stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, on_cluster(config))
    names = [s for s in engine.seen if isinstance(s, str) and "tfrecord" in s]
    building = work_folder.building(config)
    shard_facts.drop([shard_facts.finished(config)[names[0]]])
    config.source.rename(config.source.with_name("elsewhere"))
    if left == "an empty folder":
        config.source.mkdir()
    with pytest.raises(MachineError, match="films is no longer seen") as caught:
        shard_unit.convert_shard(config, building, names[0])
    copied = copy.copy(caught.value)
    assert (type(copied), str(copied)) == (MachineError, str(caught.value))
    assert not shard_facts.exist(config, names[0])


def test_a_pool_is_kept_for_the_next_unit_and_not_after_a_fault(config, monkeypatch):
    made = []

    class Pool(films.InProcess):
        def __init__(self, *functions, num_workers, share, **_):
            made.append(self)
            self.share = share
            super().__init__(*functions, num_workers=num_workers)

    monkeypatch.setattr(unit_pool.workers, "WorkerPool", Pool)
    monkeypatch.setattr(unit_pool.cores, "available", lambda: 8)
    limits = shard_unit.LIMITS
    try:
        for _ in range(2):
            with unit_pool.pool(len, min, num_workers=1, limits=limits):
                pass
        # Headers are read with more functions than shards are written with.
        with unit_pool.pool(min, num_workers=1, limits=limits):
            pass
        assert len(made) == 1
        with unit_pool.pool(min, max, num_workers=1, limits=limits):
            pass
        assert len(made) == 2
        with unit_pool.pool(max, num_workers=2, limits=limits):
            pass
        assert len(made) == 3
        # Of eight cores, by which the machine's memory is shared out.
        assert [pool.share for pool in made] == [1 / 8, 1 / 8, 2 / 8]
        with (
            pytest.raises(OSError, match="a full disk"),
            unit_pool.pool(max, num_workers=1, limits=limits),
        ):
            raise OSError("a full disk")
        with unit_pool.pool(max, num_workers=1, limits=limits):
            pass
        assert len(made) == 5
    finally:
        unit_pool.close()


def test_a_damaged_chunk_is_refused(config, monkeypatch, engine):
    with monkeypatch.context() as patch:
        patch.setattr(convert.plan_choice.plan, "_deal", _stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, on_cluster(config))
    read = next((config.output / ".work/headers").rglob("*.read.json"))
    read.write_text(read.read_text().replace("true", "false"))
    with pytest.raises(CommandError) as refused:
        films.run(monkeypatch, on_cluster(config))
    assert refused.value.exit_code == ExitCode.CORRUPT


@pytest.mark.slow
def test_units_in_processes_each_done_twice(
    convert_config, dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(choose, "executor", lambda *_, **__: Processes())
    monkeypatch.setattr(header_reader, "LARGEST_CHUNK", 20)
    placed = dataclasses.replace(
        convert_config, output=tmp_path / "data", num_workers=1, placement=ON_CLUSTER
    )
    assert convert.convert(placed) == ExitCode.DONE
    assert tree(tmp_path / "data") == tree(dataset)


def _count(monkeypatch):
    """Counts the headers that are read; returns what tells it, and counts anew."""
    read, count = header_unit.read_header_facts, [0]

    def counting(probed: probe.Probe):
        count[0] += 1
        return read(probed)

    def told():
        found, count[0] = count[0], 0
        return found

    monkeypatch.setattr(header_unit, "read_header_facts", counting)
    return told


def _stop(*_, **__):
    raise KeyboardInterrupt


def test_what_is_read_of_headers_is_gone_with_the_plan(config, monkeypatch, engine):
    with monkeypatch.context() as patch:
        patch.setattr(convert.publishing, "publish", _stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, on_cluster(config))
    work = config.output / ".work"
    assert not (work / "headers").exists()
    head = durable.read_json(work / "plan" / "plan.json", fix="")
    assert len(head["costs"]) == len(list((work / "plan" / "shards").iterdir()))


@pytest.mark.parametrize(
    ("num_files", "expected"), [(1, 50), (1500, 50), (6401, 101), (1_000_000, 500)]
)
def test_a_short_pass_is_divided_among_machines(num_files, expected):
    assert header_reader._chunk(range(num_files)) == expected
