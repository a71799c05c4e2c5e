"""Tests the commands as processes: exit code, a one-line error, no traceback."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from data_prep.core.errors import ExitCode
from tests.flags import reads

ROOT = pathlib.Path(__file__).parent.parent
PREDICT = "inference.main --data={data} --members=none --output={tmp}/p"
CONVERT = "data_prep.main --source={source} --rle_csv={csv} --output={tmp}/x"
EVALUATE = "inference.evaluate --submission={csv} --truth={csv} --output={tmp}/e"


def run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        # An exported terminal width would change the text.
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted(reads.COMMANDS))
def test_help_lists_the_flags_that_the_command_reads_and_no_other(module):
    done = run(module, "--help")
    assert done.returncode == 0
    assert f"python -m {module}" in done.stdout
    listed = re.findall(r"^  --(?:\[no\])?(\w+)", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(reads.of(module))
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    ["-h", "-help", "--data=a --help", "--epochs=x --no_such_flag=1 word --help"],
)
def test_help_wherever_and_however_it_is_asked_for(arguments):
    done = run("trainer.main", *arguments.split(" "))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("trainer.main", "--help").stdout


def test_full_help_has_the_flags_of_absl_too():
    done = run("trainer.list_models", "--helpfull")
    assert done.returncode == 0
    for name in ("--image_size=PIXELS", "--verbosity=VALUE"):
        assert f"\n  {name}" in done.stdout
    assert "--num_workers" not in done.stdout


def test_a_reader_of_help_may_leave():
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} -m trainer.main --help | true; echo ${{PIPESTATUS[0]}}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_presets_are_listed_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "trainer.main", "--preset=list"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "\ndemo " in done.stdout
    assert "tensorflow" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("data_prep.main", 1, "--output is missing"),
        (
            "data_prep.main --source=none --rle_csv=none.csv --output={tmp}/x",
            1,
            "no csv file at none.csv; check the path",
        ),
        (
            "data_prep.main --source=none --rle_csv={csv} --output={tmp}/x",
            1,
            "no folder at none; check the path",
        ),
        (
            f"{CONVERT} --clahe=sharpen",
            1,
            "Unknown CLAHE method. Expected one of ['none', 'opencv', 'skimage']",
        ),
        ("data_prep.main fold=3", 1, "not a flag: 'fold=3'; write --name=value"),
        ("data_prep.main --num_fold=3", 1, "Unknown command line flag 'num_fold'"),
        (
            "data_prep.main --flagfile=none.flagfile",
            1,
            "ERROR FLAGS: Unable to open flagfile: [Errno 2] No such file or dir",
        ),
        ("data_prep.main --aspect=fill", 1, "ERROR FLAGS: flag --aspect=fill"),
        ("data_prep.main --truth={csv}", 1, "data_prep.main does not use --truth; "),
        (
            "trainer.main --workdirs={tmp}",
            1,
            "'workdirs'; did you mean --workdir? --help lists the flags of this",
        ),
        (
            "trainer.main --preset=demos --data={data} --workdir={tmp}/r",
            1,
            "no preset 'demos'; did you mean demo? --preset=list shows all",
        ),
        (
            "trainer.crossval --data={data} --output={tmp}/r --fold=1",
            1,
            "trainer.crossval does not use --fold; give --folds",
        ),
        ("trainer.main --data={data} --workdir={tmp}/r --fold=9", 1, "folds [0, 1, 2]"),
        (
            "trainer.main --data={data} --workdir={tmp}/r --model=unet5",
            1,
            "Unknown model. Expected one of ['densenet169', 'efficientnet_b4'",
        ),
        (
            "trainer.main --data={data} --workdir={tmp}/r --augment=flip",
            1,
            "Unknown augmentation. Expected one of",
        ),
        ("trainer.main --data={tmp} --workdir={tmp}/r", 1, "no dataset.json in"),
        (
            "trainer.preview --data={data} --augment=none --output={tmp}/p.png",
            1,
            "Expected ops to preview. Received: --augment=none; name some",
        ),
        (
            "inference.main --data={data} --members=none --output={tmp}/p",
            1,
            "no config.json in none; give a run folder that",
        ),
        (
            "inference.main --data={data} --members=none --output={tmp}/p --tta=spin",
            1,
            "unknown view 'spin'",
        ),
        (
            "inference.evaluate --submission=none --truth={csv} --output={tmp}/e",
            1,
            "no csv file at none",
        ),
        (
            EVALUATE,
            1,
            "or take their union with --rows=merge",
        ),
        (
            EVALUATE + " --rows=merge --probabilities={csv}",
            1,
            "a second time; correct that line",
        ),
        (
            "inference.vote --submissions={csv},none.csv --output={tmp}/v.csv",
            1,
            "has 2 rows for",
        ),
        (
            "inference.average --probability_csvs=none,{csv} --output={tmp}/a.csv",
            1,
            "no csv file at none",
        ),
        (
            "inference.tune --predictions={tmp} --truth={csv} --output={tmp}/t",
            1,
            "give the folder of a finished prediction",
        ),
        (
            "inference.tune --predictions={tmp} --truth={csv} --output=t --tops=2",
            1,
            "Expected 0 < value <= 1. Received: tops=2",
        ),
        (
            f"{PREDICT} --postprocess=gate(0.5)|seed",
            1,
            "no classifier is there",
        ),
        ("data_prep.synthetic --output=/dev/null/x", 6, "ERROR ENVIRONMENT: Not a"),
    ],
)
def test_faults(command, code, message, dataset, source, tmp_path):
    command = command.format(
        tmp=tmp_path,
        data=dataset / "32",
        source=source / "dicom-images-train",
        csv=source / "train-rle.csv",
    )
    module, *arguments = command.split(" ")
    done = run(module, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"ERROR {ExitCode(code).name}: ")
    assert not list(tmp_path.rglob("dataset.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "ERROR INTERRUPTED: interrupted; run it again"),
        (signal.SIGTERM, 75, "ERROR PREEMPTED: terminated, what was finished is kept"),
    ],
)
def test_a_signal_is_one_line(tmp_path, number, code, message):
    process = subprocess.Popen(
        [sys.executable, "-m", "data_prep.synthetic", f"--output={tmp_path}/x"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(tmp_path.rglob("*.dcm")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert message in errors
    assert "Traceback" not in errors


def test_make_bench_runs_the_suite():
    done = subprocess.run(
        ["make", "--dry-run", "bench"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "-m tests.benchmarks.harness.suite --output=build/benchmarks" in done.stdout
