"""Parts of an array job together have the bytes of one command."""

import dataclasses
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from data_prep.config import Placement
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.phantom import synthetic_folder
from inference.inputs import chunks
from inference.prediction import convert_source
from inference.prediction import predict
from inference.prediction.prediction_folder import PredictionFolder
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import member
from tests.inference.prediction.test_devices import files
from tests.inference.prediction.test_devices import of_labelled
from tests.inference.prediction.test_devices import of_test_split
from tests.inference.prediction.test_predict import config

ROOT = pathlib.Path(__file__).parents[3]


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


def planned(asked):
    """Plans a prediction, and returns its configuration."""
    plan = dataclasses.replace(asked, placement=Placement(plan_only=True))
    assert predict.predict(plan) == ExitCode.DONE
    return asked


def part(asked, index, count):
    return dataclasses.replace(asked, placement=Placement(part=(index, count)))


def of_one(dataset, runs, output, **changes):
    return config(dataset, [runs / "segmenter0"], output, **changes)


def parts_of(folder):
    return {p: p.stat().st_mtime_ns for p in (folder / "parts").glob("*/part-*")}


def test_parts_of_a_cascade_have_the_bytes_of_one_command(dataset, runs):
    whole = of_test_split(dataset, runs, runs / "whole")
    predict.predict(whole)
    asked = planned(dataclasses.replace(whole, output=runs / "parts"))
    assert not parts_of(asked.output)
    predict.predict(part(asked, 1, 2))
    after_one = parts_of(asked.output)
    assert [p.name for p in sorted(after_one)] == ["part-00002.json", "part-00003.json"]
    predict.predict(part(asked, 0, 2))
    # Repeating one is harmless, and does nothing again.
    predict.predict(part(asked, 1, 2))
    assert after_one.items() <= parts_of(asked.output).items()
    assert not (asked.output / "submission.csv").exists()
    predict.predict(asked)
    assert files(asked.output) == files(whole.output)
    # A part that comes late changes nothing.
    predict.predict(part(asked, 1, 2))
    assert files(asked.output) == files(whole.output)


@pytest.mark.slow
def test_parts_of_labelled_images_and_what_is_left(dataset, runs, caplog):
    whole = of_labelled(dataset, runs, runs / "whole")
    predict.predict(whole)
    asked = planned(dataclasses.replace(whole, output=runs / "parts"))
    predict.predict(part(asked, 0, 3))
    num_done = len(parts_of(asked.output))
    with caplog.at_level(logging.INFO):
        predict.predict(asked)
    (left,) = [m for m in caplog.messages if "shards are left" in m]
    assert left.endswith("are left, of the parts 1/3, 2/3: does them here")
    assert num_done > 3
    assert files(asked.output) == files(whole.output)


def test_a_command_finishes_what_no_part_has_done(dataset, runs, caplog):
    asked = planned(of_one(dataset, runs, runs / "out"))
    predict.predict(part(asked, 0, 5))
    predict.predict(part(asked, 0, 2))
    predict.predict(asked)
    said = [m for m in caplog.messages if "shards are left" in m]
    assert said == [
        "1 of 2 shards are left, of the parts 1/2: does them here",
        "1 of 2 shards are left, of the parts 1/5: does them here",
    ]
    assert (asked.output / "submission.csv").exists()
    assert not (asked.output / "parts").exists()


def test_a_part_that_was_not_planned(dataset, runs):
    asked = of_one(dataset, runs, runs / "out")
    with pytest.raises(CommandError, match="has no plan .* with --plan_only") as e:
        predict.predict(part(asked, 0, 2))
    assert e.value.exit_code == ExitCode.FLAGS
    assert not asked.output.exists()


def test_a_part_of_another_prediction(dataset, runs):
    asked = planned(of_one(dataset, runs, runs / "out"))
    other = dataclasses.replace(asked, postprocess="threshold(0.6)")
    for wrong in (
        part(other, 0, 2),
        dataclasses.replace(other, placement=Placement(plan_only=True)),
    ):
        with pytest.raises(CommandError, match="postprocess: stored .*0.5") as e:
            predict.predict(wrong)
        assert e.value.exit_code == ExitCode.CONFLICT
    assert not parts_of(asked.output)


def test_more_parts_than_shards(dataset, runs, caplog):
    asked = planned(of_one(dataset, runs, runs / "out"))
    assert predict.predict(part(asked, 2, 3)) == ExitCode.DONE
    assert "part 2/3 has nothing to do: there are 2 shards" in caplog.text
    assert not parts_of(asked.output)


def test_a_plan_checks_members_and_leaves_none_of_a_bad_one(dataset, runs):
    asked = of_one(dataset, runs, runs / "out")
    bad = dataclasses.replace(
        asked, members=(runs / "classifier0",), data=(dataset / "64",)
    )
    with pytest.raises(CommandError, match="is a classifier, which outlines nothing"):
        planned(bad)
    assert not (asked.output / "request.json").exists()
    planned(asked)
    assert (asked.output / "request.json").exists()


def test_a_part_checks_its_own_shards_alone(dataset, runs, monkeypatch):
    checked = []
    check = manifest.check_shards

    def watched(folder, shards, **options):
        checked.extend(shard.name for shard in shards)
        check(folder, shards, **options)

    monkeypatch.setattr(manifest, "check_shards", watched)
    asked = planned(of_one(dataset, runs, runs / "out"))
    assert not checked
    predict.predict(part(asked, 1, 2))
    assert checked == ["test.tfrecord-00001-of-00002"]


def test_films_are_converted_by_the_plan(dataset, source, runs, monkeypatch):
    converted = []
    convert = convert_source.conversion.convert

    def watched(asked):
        converted.append(asked.placement)
        return convert(asked)

    monkeypatch.setattr(convert_source.conversion, "convert", watched)
    films = {"data": (), "source": source / synthetic_folder.TEST_FOLDER}
    whole = of_one(dataset, runs, runs / "whole", **films)
    predict.predict(whole)
    asked = planned(dataclasses.replace(whole, output=runs / "parts"))
    assert converted == [Placement()] * 2
    for k in range(2):
        predict.predict(part(asked, k, 2))
    assert len(converted) == 2
    predict.predict(asked)
    assert files(asked.output) == files(whole.output)


@pytest.mark.slow
def test_parts_at_once_of_which_one_is_killed(dataset, runs):
    whole = of_one(dataset, runs, runs / "whole", outputs=("csv", "probabilities"))
    predict.predict(whole)
    done = subprocess.run(
        [sys.executable, "-m", __name__, dataset, runs],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert files(runs / "parts") == files(whole.output)


def _main(data: str, runs: str) -> None:
    """Predicts by forks of this process, which does not use TensorFlow itself."""
    from trainer.machine import backend

    backend.load()
    from tests import fakes
    from trainer.models import registry

    registry.MODELS["tiny"] = fakes.build_tiny
    chunks.CHUNK_IMAGES = 2
    folder = pathlib.Path(runs)
    asked = of_one(
        pathlib.Path(data), folder, folder / "parts", outputs=("csv", "probabilities")
    )
    write, begun = PredictionFolder.write, folder / "begun"

    def killed(*arguments):
        write(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    def slow(*arguments):
        begun.touch()
        time.sleep(0.5)
        write(*arguments)

    plan = dataclasses.replace(asked, placement=Placement(plan_only=True))
    assert _wait(_start(plan, write)) == 0
    assert _wait(_start(part(asked, 0, 2), killed)) == -signal.SIGKILL
    twins = [_start(part(asked, 0, 2), slow) for _ in range(2)]
    twins.append(_start(part(asked, 1, 2), slow))
    while not begun.exists():
        time.sleep(0.01)
    # Meanwhile the command itself is refused, and so is another plan.
    assert _wait(_start(asked, write)) == ExitCode.CONFLICT
    assert _wait(_start(plan, write)) == ExitCode.CONFLICT
    assert [_wait(child) for child in twins] == [0, 0, 0]
    assert _wait(_start(asked, write)) == 0


def _start(asked, write):
    child = os.fork()
    if child:
        return child
    PredictionFolder.write = write
    try:
        code = predict.predict(asked)
    except CommandError as e:
        print(e, file=sys.stderr)
        code = e.exit_code
    os._exit(code)


def _wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    _main(*sys.argv[1:])
