"""What a cluster predicts has the bytes of one machine."""

import dataclasses
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from data_prep.config import Placement
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import choose
from data_prep.executors.executor import Resources
from data_prep.phantom import synthetic_folder
from inference.config import Engine
from inference.ensemble import mean_probability
from inference.inputs import chunks
from inference.prediction import cluster
from inference.prediction import convert_source
from inference.prediction import device_workers
from inference.prediction import predict
from inference.prediction.prediction_folder import PredictionFolder
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import member
from tests.inference.prediction.cluster_executors import Forked
from tests.inference.prediction.cluster_executors import Pickled
from tests.inference.prediction.cluster_executors import elsewhere
from tests.inference.prediction.cluster_executors import sent
from tests.inference.prediction.test_devices import files
from tests.inference.prediction.test_devices import of_labelled
from tests.inference.prediction.test_devices import of_test_split
from tests.inference.prediction.test_predict import config

ROOT = pathlib.Path(__file__).parents[3]
CLUSTER = Placement(cluster="auto")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_IMAGES", 2)


@pytest.fixture
def runs(dataset, tmp_path):
    for k in range(3):
        member(tmp_path / f"segmenter{k}", dataset / "32", k, fold=k)
        path = tmp_path / f"classifier{k}"
        member(path, dataset / "64", 10 + k, fold=k, model=CLASSIFIER)
    return tmp_path


@pytest.fixture
def engine(tmp_path, monkeypatch):
    executor = Pickled(elsewhere(tmp_path))
    monkeypatch.setattr(choose, "executor", executor.made)
    return executor


def on_cluster(asked, **changes):
    return dataclasses.replace(asked, placement=CLUSTER, **changes)


def of_one(dataset, runs, output, **changes):
    """One member alone, for what does not depend on more."""
    return config(dataset, [runs / "segmenter0"], output, **changes)


def test_a_cascade_of_two_sizes_has_the_bytes_of_one_machine(
    dataset, runs, engine, monkeypatch
):
    asked = of_test_split(dataset, runs, runs / "local")
    asked = dataclasses.replace(asked, outputs=("csv", "probabilities", "overlays"))
    predict.predict(asked)
    local = files(asked.output)
    assert {"submission.csv", "classification.csv", "prediction.json"} <= local.keys()
    assert len([name for name in local if name.startswith("overlays/")]) == 7
    # What is relative means something else where the units run.
    monkeypatch.chdir(runs)
    relative = {
        "members": tuple(pathlib.Path(p.name) for p in asked.members),
        "classifiers": (pathlib.Path("classifier0"),),
        "data": (pathlib.Path(os.path.relpath(dataset)),),
        "output": pathlib.Path("cluster"),
    }
    assert predict.predict(on_cluster(asked, **relative)) == ExitCode.DONE
    assert files(runs / "cluster") == local
    # Only indices and names pass, the longest shard first.
    names = [f"test.tfrecord-0000{k}-of-00002" for k in (0, 1)]
    assert sorted(engine.passed) == list(enumerate(names))
    assert engine.costs == [4, 3]
    ((placement, shared), gpus) = engine.asked
    assert placement == CLUSTER
    assert shared[0] == runs / "cluster"
    assert {p.resolve() for p in shared} == {
        dataset,
        *(runs / n for n in ("cluster", "segmenter0", "segmenter1", "classifier0")),
    }
    assert gpus


@pytest.mark.slow
def test_labelled_images_have_the_bytes_of_one_machine(dataset, runs, engine):
    asked = of_labelled(dataset, runs, runs / "local")
    predict.predict(asked)
    predict.predict(on_cluster(asked, output=runs / "cluster"))
    assert files(runs / "cluster") == files(asked.output)
    assert len(engine.passed) > 5


def test_only_what_is_left_is_predicted(dataset, runs, engine, monkeypatch):
    whole = of_one(dataset, runs, runs / "whole", outputs=("csv", "probabilities"))
    predict.predict(whole)
    write, written = PredictionFolder.write, []

    def killed(*arguments):
        # The first shard has two chunks.
        if len(written) >= 2:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    asked = on_cluster(whole, output=runs / "killed")
    monkeypatch.setattr(PredictionFolder, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        predict.predict(asked)
    monkeypatch.setattr(PredictionFolder, "write", write)
    assert len(list((asked.output / "parts").glob("*/part-*"))) == 2
    engine.passed.clear()
    predict.predict(asked)
    assert files(asked.output) == files(whole.output)
    assert [unit for unit, _ in engine.passed] == [0]


def test_a_bad_member_leaves_no_request_behind(dataset, runs, engine):
    asked = on_cluster(of_one(dataset, runs, runs / "out"))
    # Only its network tells that it outlines nothing.
    bad = dataclasses.replace(
        asked, members=(runs / "classifier0",), data=(dataset / "64",)
    )
    with pytest.raises(CommandError, match="is a classifier, which outlines") as e:
        predict.predict(bad)
    assert e.value.exit_code == ExitCode.FLAGS
    assert predict.predict(asked) == ExitCode.DONE
    # What is done is never given up.
    folder = PredictionFolder(runs / "other", {"a": 1})

    def fails_after_a_part():
        with folder.claimed():
            folder.write(0, [], None)
            raise CommandError(ExitCode.CORRUPT, "x", fix="y")

    with pytest.raises(CommandError, match="x; y"):
        fails_after_a_part()
    assert (folder.path / "request.json").exists()


def test_changed_weights_are_found_before_the_cluster_is_asked(dataset, runs, engine):
    path = runs / "segmenter0" / "swa.weights.h5"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CommandError, match="does not match its recorded sha256"):
        predict.predict(on_cluster(of_one(dataset, runs, runs / "out")))
    assert not engine.asked


def test_a_process_that_has_another_request_predicts_nothing(dataset, runs, engine):
    class Late(Pickled):
        def run_loaded(self, load, units, **options):
            PredictionFolder(runs / "out", {"another": "one"}).path.joinpath(
                "request.json"
            ).unlink()
            PredictionFolder(runs / "out", {"another": "one"}).claim()
            yield from super().run_loaded(load, units, **options)

    engine.__class__ = Late
    with pytest.raises(CommandError, match="made with another configuration"):
        predict.predict(on_cluster(of_one(dataset, runs, runs / "out")))
    assert not engine.passed


def test_a_required_gpu_that_no_node_has(dataset, runs, engine):
    asked = on_cluster(of_one(dataset, runs, runs / "out", require_gpu=True))
    with pytest.raises(CommandError, match="the cluster has no GPU that tensorflow"):
        predict.predict(asked)
    assert not engine.passed


def test_openvino_takes_no_gpu(dataset, runs, engine):
    asked = of_one(dataset, runs, runs / "out", engine=Engine(name="openvino"))
    assert cluster._resources(asked, engine) == Resources(num_cpus=1)
    assert engine.asked == [False]


def test_warnings_of_the_processes_are_repeated_once(
    dataset, runs, engine, monkeypatch, caplog
):
    make = mean_probability.segmenters

    def small(*arguments):
        segment = make(*arguments)

        def run(images):
            if len(next(iter(images.values()))) > 1:
                raise tf.errors.ResourceExhaustedError(
                    None, None, "OOM when allocating"
                )
            return segment(images)

        return run

    monkeypatch.setattr(device_workers, "names", lambda config: ["/device:CPU:0"])
    local = of_one(dataset, runs, runs / "local")
    predict.predict(local)
    monkeypatch.setattr(mean_probability, "segmenters", small)
    predict.predict(on_cluster(local, output=runs / "out"))
    # The process's own line, and the command's.
    said = [m for m in caplog.messages if "out of memory for the segmenters" in m]
    assert len(said) == 2
    assert said[1] == f"{os.uname().nodename}: {said[0]}"
    assert files(runs / "out") == files(local.output)


def test_memory_that_lacks_for_one_image_is_told_as_on_one_machine(
    dataset, runs, engine, monkeypatch
):
    def full(*arguments):
        def run(images):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

        return run

    monkeypatch.setattr(mean_probability, "segmenters", full)
    with pytest.raises(CommandError, match="CPU:0 has too little memory for the") as e:
        predict.predict(on_cluster(of_one(dataset, runs, runs / "out")))
    assert e.value.exit_code == ExitCode.ENVIRONMENT


def test_the_first_chunk_is_compared_by_who_predicts_it(dataset, runs, engine, caplog):
    rounded = {"predict_precision": "bfloat16"}
    local = of_one(dataset, runs, runs / "local", **rounded)
    with caplog.at_level(logging.INFO):
        predict.predict(local)
        (said,) = [m for m in caplog.messages if "on the first 2 images" in m]
        caplog.clear()
        predict.predict(on_cluster(local, output=runs / "out"))
    # The process has predicted a longer shard before.
    assert [unit for unit, _ in engine.passed] == [1, 0]
    # By the process, and by the command.
    assert [m for m in caplog.messages if "on the first" in m] == [said] * 2
    assert files(runs / "out") == files(local.output)


def test_parts_that_do_not_appear_are_refused(dataset, runs, engine, monkeypatch):
    class Elsewhere(Pickled):
        def run_loaded(self, load, units, **options):
            yield from ((unit, "name") for unit in units)

    engine.__class__ = Elsewhere
    monkeypatch.setattr(cluster.shared_files, "SECONDS", 1)
    with pytest.raises(CommandError, match="2 shards were predicted on other") as e:
        predict.predict(on_cluster(of_one(dataset, runs, runs / "out")))
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert not (runs / "out" / "submission.csv").exists()


def test_parts_that_appear_late_are_waited_for(dataset, runs, engine, monkeypatch):
    hidden = threading.Event()
    finished = PredictionFolder.finished
    monkeypatch.setattr(
        PredictionFolder,
        "finished",
        lambda self, asked: set() if hidden.is_set() else finished(self, asked),
    )
    done = engine.run_loaded

    def hiding(*arguments, **options):
        yield from done(*arguments, **options)
        hidden.set()

    monkeypatch.setattr(engine, "run_loaded", hiding)
    monkeypatch.setattr(cluster.shared_files.time, "sleep", lambda _: hidden.clear())
    assert predict.predict(on_cluster(of_one(dataset, runs, runs / "out"))) == 0
    assert (runs / "out" / "submission.csv").exists()


def test_an_attempt_that_was_given_up_changes_nothing(dataset, runs, engine):
    late = []

    class Zombie(Pickled):
        def run_loaded(self, load, units, **options):
            late.append(load())
            yield from super().run_loaded(load, units, **options)

    engine.__class__ = Zombie
    asked = of_one(dataset, runs, runs / "out", outputs=("csv", "probabilities"))
    predict.predict(on_cluster(asked))
    before = {p: p.stat().st_mtime_ns for p in asked.output.rglob("*") if p.is_file()}
    late[0](0)
    after = {p: p.stat().st_mtime_ns for p in asked.output.rglob("*") if p.is_file()}
    assert after == before


def test_films_are_converted_on_the_cluster_too(
    dataset, source, runs, engine, monkeypatch
):
    asked = []
    convert = convert_source.conversion.convert

    def watched(converted):
        asked.append(converted)
        return convert(dataclasses.replace(converted, placement=Placement()))

    monkeypatch.setattr(convert_source.conversion, "convert", watched)
    films = {"data": (), "source": source / synthetic_folder.TEST_FOLDER}
    local = of_one(dataset, runs, runs / "local", **films)
    predict.predict(local)
    predict.predict(on_cluster(local, output=runs / "out"))
    assert files(runs / "out") == files(local.output)
    assert [c.placement for c in asked] == [Placement(), CLUSTER]
    assert asked[1].output == runs / "out" / "dataset"
    assert (runs / "out" / "dataset") in engine.asked[0][1]


def test_the_driver_of_a_cluster_opens_no_device(dataset, runs, engine, monkeypatch):
    def opened(*arguments, **options):
        raise AssertionError("a device was opened")

    for name in ("announce", "grow_memory"):
        monkeypatch.setattr(predict.process_setup.devices, name, opened)
    monkeypatch.setattr(predict, "LoadedEnsemble", opened)
    asked = on_cluster(of_one(dataset, runs, runs / "out"))
    seen = []

    class Watching(Pickled):
        def run_loaded(self, load, units, **options):
            seen.append(list(units))
            raise CommandError(ExitCode.ENVIRONMENT, "no more", fix="x")
            yield

    engine.__class__ = Watching
    with pytest.raises(CommandError, match="no more"):
        predict.predict(asked)
    assert seen == [[0, 1]]
    # It is pickled for the processes.
    assert sent(asked) == asked


@pytest.mark.slow
def test_processes_with_a_killed_one_and_any_number_of_threads(dataset, runs):
    asked = of_test_split(dataset, runs, runs / "local")
    predict.predict(asked)
    done = subprocess.run(
        [sys.executable, "-m", __name__, dataset, runs],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for num_cpus in (1, 2):
        assert files(runs / f"forked{num_cpus}") == files(asked.output)


def _main(data: str, runs: str) -> None:
    """Predicts in two forks, of which the first is killed after a part."""
    from trainer.machine import backend

    backend.load()
    from tests import fakes
    from trainer.models import registry

    registry.MODELS.update(tiny=fakes.build_tiny, encoded=fakes.build_encoded)
    chunks.CHUNK_IMAGES = 2
    folder = pathlib.Path(runs)
    empty = elsewhere(folder)
    write, killed = PredictionFolder.write, folder / "killed"
    for num_cpus, num_killed in ((1, 1), (2, 0)):
        executor = Forked(empty, num_cpus=num_cpus, num_forks=2)
        choose.executor = executor.made

        def once(*arguments, expected=num_cpus):
            write(*arguments)
            if not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            threads = tf.config.threading.get_intra_op_parallelism_threads()
            assert threads == expected, threads

        PredictionFolder.write = once
        asked = of_test_split(pathlib.Path(data), folder, folder / f"forked{num_cpus}")
        assert predict.predict(on_cluster(asked)) == ExitCode.DONE
        assert executor.num_lost == num_killed
        assert sorted(unit for unit, _ in executor.passed) == [0, 1]


if __name__ == "__main__":
    _main(*sys.argv[1:])
