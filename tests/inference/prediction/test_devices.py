"""The files of a prediction are the same for any number of devices."""

import dataclasses
import logging
import pathlib
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import Engine
from inference.ensemble import classification
from inference.ensemble import mean_probability
from inference.ensemble import networks
from inference.inputs import chunks
from inference.prediction import device_workers
from inference.prediction import predict
from inference.prediction import process_setup
from inference.prediction.prediction_folder import PredictionFolder
from inference.prediction.unlike_csv import FILE_NAME as UNLIKE
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import POOLED
from tests.inference.finished_runs import member
from tests.inference.prediction import repeated
from tests.inference.prediction.test_predict import config

ROOT = pathlib.Path(__file__).parents[3]
CPUS = ["/device:CPU:0", "/device:CPU:1"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_IMAGES", 1)


@pytest.fixture
def runs(dataset, tmp_path):
    for k in range(3):
        member(tmp_path / f"segmenter{k}", dataset / "32", k, fold=k)
        path = tmp_path / f"classifier{k}"
        member(path, dataset / "64", 10 + k, fold=k, model=CLASSIFIER)
    return tmp_path


def of_test_split(data, runs, output):
    """A cascade with views of the segmenters and of the classifiers."""
    return config(
        data,
        [runs / "segmenter0", runs / "segmenter1"],
        output,
        data=(data,),
        classifiers=(runs / "classifier0",),
        classifier_tta=("invert",),
        classifier_random_views=1,
        postprocess="gate(0.4)|threshold(0.5)",
        batch_size=2,
        outputs=("csv", "probabilities"),
    )


def of_labelled(data, runs, output):
    return config(
        data,
        [runs / f"segmenter{k}" for k in range(3)],
        output,
        data=(data,),
        classifiers=tuple(runs / f"classifier{k}" for k in range(3)),
        split="out_of_fold",
        batch_size=2,
    )


def predicted_on(devices, asked, monkeypatch):
    monkeypatch.setattr(device_workers, "names", lambda config: devices)
    predict.predict(asked)
    return files(asked.output)


def files(folder):
    """Returns {name: bytes} of what a prediction leaves and a second one repeats."""
    return {
        str(p.relative_to(folder)): repeated.read(p)
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


class Watched:
    """Records the threads and devices that run networks, and holds up the first one.

    The first thread waits until all others have predicted an image.
    """

    def __init__(self, monkeypatch, num_devices):
        self.devices: set[str] = set()
        self._num_devices, self._all = num_devices, threading.Event()
        make = mean_probability.segmenters

        def watched(*arguments):
            segment = make(*arguments)

            def run(images):
                maps = segment(images)
                self.devices.add(maps.device)
                if len(self.devices) == self._num_devices:
                    self._all.set()
                assert self._all.wait(60), "a device predicts nothing"
                return maps

            return run

        monkeypatch.setattr(mean_probability, "segmenters", watched)


def both_used(watched):
    return {name.rpartition("device:")[2] for name in watched.devices} == {
        "CPU:0",
        "CPU:1",
    }


def test_films_left_out_on_two_devices(dataset, tmp_path, monkeypatch):
    """Each device compares films by its own copy of the networks' features."""
    run = tmp_path / "run"
    member(run, dataset / "32", 1, model=POOLED, described=True)
    changes = {"guard_quantile": 0.3, "on_unlike": "quarantine"}
    one = config(dataset, [run], tmp_path / "one", **changes)
    expected = predicted_on(CPUS[:1], one, monkeypatch)
    watched = Watched(monkeypatch, 2)
    two = dataclasses.replace(one, output=tmp_path / "two")
    assert predicted_on(CPUS, two, monkeypatch) == expected
    assert both_used(watched)
    assert b",encoder," in expected[UNLIKE]
    assert expected[UNLIKE].endswith(b",left out\n")


@pytest.mark.slow
def test_labelled_images_on_two_devices(dataset, runs, monkeypatch):
    one = predicted_on(CPUS[:1], of_labelled(dataset, runs, runs / "a"), monkeypatch)
    watched = Watched(monkeypatch, 2)
    two = predicted_on(CPUS, of_labelled(dataset, runs, runs / "b"), monkeypatch)
    assert one == two
    assert len([name for name in one if name.endswith(".tfrecord")]) == 30
    assert both_used(watched)


@pytest.mark.slow
def test_a_cascade_on_two_and_four_devices_killed_and_resumed(
    dataset, runs, monkeypatch
):
    asked = of_test_split(dataset, runs, runs / "one")
    one = predicted_on(CPUS[:1], asked, monkeypatch)
    assert {"submission.csv", "classification.csv", "prediction.json"} <= one.keys()
    done = subprocess.run(
        [sys.executable, "-m", __name__, dataset, runs], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert files(runs / "four") == one
    killed = runs / "killed"
    assert 2 <= len(list((killed / "parts").glob("*/part-*"))) < 7
    watched = Watched(monkeypatch, 2)
    resumed = of_test_split(dataset, runs, killed)
    assert predicted_on(CPUS, resumed, monkeypatch) == one
    assert both_used(watched)


def test_an_error_on_one_device_ends_the_job(dataset, runs, monkeypatch):
    make = mean_probability.segmenters

    def failing(*arguments):
        segment = make(*arguments)

        def run(images):
            maps = segment(images)
            if maps.device.endswith("CPU:1"):
                raise ArithmeticError("on the second device")
            return maps

        return run

    monkeypatch.setattr(mean_probability, "segmenters", failing)
    asked = config(dataset, [runs / "segmenter0"], runs / "out")
    before = set(threading.enumerate())
    with pytest.raises(ArithmeticError, match="on the second device"):
        predicted_on(CPUS, asked, monkeypatch)
    assert not (asked.output / "submission.csv").exists()
    left = set(threading.enumerate()) - before
    assert not [t for t in left if "ThreadPool" in t.name]


def test_the_devices_share_graphs_and_have_weights_of_their_own(
    dataset, runs, monkeypatch
):
    traced, seen = [], set()
    call = networks.Network._call

    def counted(self, images, trainable, fixed):
        traced.append(images.shape)
        return call(self, images, trainable, fixed)

    monkeypatch.setattr(networks.Network, "_call", counted)
    place = device_workers.placement.place

    def watched(group, device, **options):
        placed = place(group, device, **options)
        for one in placed.segmenters:
            cells = [c.cell_contents for c in one.logits.__closure__]
            (weights,) = [c for c in cells if isinstance(c, tuple)]
            assert len(weights[0]) > 3
            seen.update(w.device for part in weights for w in part)
        return placed

    monkeypatch.setattr(device_workers.placement, "place", watched)
    members = [runs / "segmenter0", runs / "segmenter1"]
    predicted_on(CPUS, config(dataset, members, runs / "out"), monkeypatch)
    assert traced == [[None, 32, 32, 1]]
    assert {name.rpartition("/")[2] for name in seen} == {
        "device:CPU:0",
        "device:CPU:1",
    }


def test_no_more_devices_than_chunks_get_members(dataset, runs, monkeypatch, caplog):
    monkeypatch.setattr(chunks, "CHUNK_IMAGES", 64)
    monkeypatch.setattr(device_workers, "names", lambda config: CPUS * 4)
    with caplog.at_level(logging.INFO):
        predict.predict(config(dataset, [runs / "segmenter0"], runs / "out"))
    # The shards of the test split have four images, and there are seven.
    assert "2 of 8 devices predict" in caplog.text


def test_the_bytes_do_not_depend_on_the_memory(dataset, runs, monkeypatch, caplog):
    monkeypatch.setattr(chunks, "CHUNK_IMAGES", 64)
    asked = config(dataset, [runs / "segmenter0"], runs / "all", batch_size=4)
    expected = predicted_on(CPUS[:1], asked, monkeypatch)
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

    monkeypatch.setattr(mean_probability, "segmenters", small)
    again = dataclasses.replace(asked, output=runs / "halved")
    assert predicted_on(CPUS[:1], again, monkeypatch) == expected
    said = [r.getMessage() for r in caplog.records if "out of memory" in r.message]
    # Once for the whole job, though each of both chunks has more than one image.
    assert len(said) == 1
    assert said[0].startswith("CPU:0 is out of memory for the segmenters of 3 images")
    assert said[0].endswith("goes on with batches of 1")


def test_weights_that_do_not_fit(dataset, runs, monkeypatch):
    def full(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(device_workers.placement, "_placed", full)
    with pytest.raises(
        CommandError, match="CPU:0 has too little memory for the weights of 1 members"
    ) as e:
        predict.predict(config(dataset, [runs / "segmenter0"], runs / "out"))
    assert e.value.exit_code == ExitCode.ENVIRONMENT


def test_a_device_that_others_fill_is_left_out(dataset, runs, monkeypatch, caplog):
    asked = config(dataset, [runs / "segmenter0"], runs / "one")
    expected = predicted_on(CPUS[:1], asked, monkeypatch)
    placed = device_workers.placement.place

    def place(group, device, **options):
        if device.endswith("1"):
            raise CommandError(ExitCode.ENVIRONMENT, "too little memory", fix="end it")
        return placed(group, device, **options)

    monkeypatch.setattr(device_workers.placement, "place", place)
    again = dataclasses.replace(asked, output=runs / "left")
    assert predicted_on(CPUS[:2], again, monkeypatch) == expected
    assert "CPU:1 predicts nothing: too little memory; end it" in caplog.text


def test_gpus_of_two_kinds_are_mentioned(monkeypatch, caplog):
    monkeypatch.setattr(
        device_workers.devices, "gpu_names", lambda: ["NVIDIA T4", "NVIDIA H100"]
    )
    monkeypatch.setattr(device_workers.devices, "logical_names", lambda: CPUS)
    asked = config(pathlib.Path("d"), [pathlib.Path("m")], pathlib.Path("o"))
    assert device_workers.names(asked) == CPUS
    assert "GPUs of 2 kinds (NVIDIA H100, NVIDIA T4)" in caplog.text


def test_random_views_are_drawn_on_the_cpu_for_every_device(dataset, runs, monkeypatch):
    """Within the scope of GPU:1, the name "CPU" would mean CPU:1."""
    drawn = set()

    def vary(images, masks, seeds):
        drawn.add(tf.zeros([]).device)
        return images, masks

    module = classification.compiled
    monkeypatch.setattr(module, "image_by_image", lambda recipe: vary)
    asked = dataclasses.replace(of_test_split(dataset, runs, runs / "out"), members=())
    asked = dataclasses.replace(asked, outputs=("csv",), postprocess="threshold(0.5)")
    predicted_on(CPUS[1:], asked, monkeypatch)
    assert {name.rpartition("device:")[2] for name in drawn} == {"CPU:0"}


@pytest.mark.parametrize(
    ("changes", "line", "most_gpus"),
    [
        ({}, "tensorflow", None),
        ({"predict_precision": "bfloat16"}, "tensorflow bfloat16", None),
        ({"engine": Engine(name="openvino")}, "openvino f32", 0),
    ],
)
def test_the_process_is_set_up_before_anything_is_read(
    monkeypatch, changes, line, most_gpus
):
    done = []
    announce = process_setup.devices.announce

    def announced(by, **options):
        done.append((by, options["most_gpus"]))
        announce(by, **options)

    monkeypatch.setattr(process_setup.devices, "announce", announced)
    monkeypatch.setattr(
        process_setup.devices, "grow_memory", lambda: done.append("grow")
    )
    settings = process_setup.tf.config.experimental
    monkeypatch.setattr(
        settings, "enable_op_determinism", lambda: done.append("determinism")
    )
    folders = [pathlib.Path(name) for name in "abc"]
    asked = config(folders[0], [folders[1]], folders[2], tta=("none such",), **changes)
    with pytest.raises(CommandError, match="unknown view"):
        predict.predict(asked)
    assert done == [(line, most_gpus), "grow", "determinism"]


def test_openvino_runs_on_one_cpu(monkeypatch):
    folders = [pathlib.Path(name) for name in "abc"]
    asked = config(folders[0], [folders[1]], folders[2], engine=Engine(name="openvino"))
    monkeypatch.setattr(device_workers.devices, "logical_names", lambda: CPUS)
    assert device_workers.names(asked) == ["/CPU:0"]


def _main(data: str, runs: str) -> None:
    """Predicts on four logical CPUs, in one fork, and is killed there in another."""
    import os
    import signal

    from trainer.machine import backend

    backend.load()
    from tests import fakes
    from trainer.models import registry

    registry.MODELS.update(tiny=fakes.build_tiny, encoded=fakes.build_encoded)
    chunks.CHUNK_IMAGES = 1
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 4
    )

    def start(name, num_parts):
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        write, written = PredictionFolder.write, []

        def counted(*arguments):
            write(*arguments)
            written.append(arguments)
            if len(written) == num_parts:
                os.kill(os.getpid(), signal.SIGKILL)

        PredictionFolder.write = counted
        folder = pathlib.Path(runs)
        predict.predict(of_test_split(pathlib.Path(data), folder, folder / name))
        assert len(tf.config.list_logical_devices("CPU")) == 4
        os._exit(0)

    assert start("four", None) == 0
    assert start("killed", 2) == signal.SIGKILL


if __name__ == "__main__":
    _main(*sys.argv[1:])
