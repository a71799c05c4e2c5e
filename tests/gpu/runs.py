"""The public commands on a synthetic data set: training, prediction, evaluation."""

import csv
import hashlib
import json
import math
import pathlib
import time

from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import CheckFailed
from tests.gpu.session import Done
from tests.gpu.session import OutOfTime
from tests.gpu.session import Session

PREEMPTED = 75  # data_prep/core/errors.py
EPOCHS, ROW_EVERY = 2, 2
LIMIT_S = 200
# A prediction that hangs must be told from one for which no time was left.
PREDICT_LIMIT_S = 100
# What a run logs that goes on from a checkpoint.
_GOES_ON = "continuing after epoch"
DATA = "data set"
STOPPED, RESUMED, SCORES = "SIGTERM stops training", "training resumes", "its scores"
PREDICTED, EVALUATED = "prediction", "evaluation"
REPEATED = "prediction repeats byte for byte"


def data(session: Session) -> pathlib.Path:
    """Returns the folder of the converted data set."""
    return session.folder / "data" / str(session.scale.size)


def train_arguments(session: Session, workdir: pathlib.Path, *more: str) -> list[str]:
    """Returns the arguments of a run of the demo's preset, of EPOCHS epochs."""
    # A row every few steps tells when the first ones are done, and changes no weight.
    return [
        "trainer.main",
        "--preset=demo",
        f"--data={data(session)}",
        f"--epochs={EPOCHS}",
        "--swa_epochs=1",
        f"--log_every_steps={ROW_EVERY}",
        f"--workdir={workdir}",
        *session.needs_gpu,
        *session.scale.model,
        *more,
    ]


def resume(session: Session, workdir: pathlib.Path, *more: str) -> Done:
    """Starts a stopped run again, which must go on from its checkpoint."""
    arguments = train_arguments(session, workdir, *more)
    done = session.run(arguments, limit_s=LIMIT_S)
    if _GOES_ON not in done.errors:
        raise CheckFailed("it began anew, and not from its checkpoint")
    return done


def stop(session: Session, workdir: pathlib.Path, *more: str) -> Row:
    """Starts a run, and stops it by SIGTERM after its first steps."""
    done = session.stop_when(
        train_arguments(session, workdir, *more),
        workdir / "steps.csv",
        limit_s=LIMIT_S,
    )
    if done.code != PREEMPTED:
        raise CheckFailed(f"exit code {done.code}, not {PREEMPTED}: {done.reason}")
    return Row(
        what=STOPPED,
        result=OK,
        figure=f"exit code {done.code}",
        seconds=done.seconds,
        note=done.reason,
    )


def make_data(session: Session) -> list[Row]:
    """Draws films and converts them."""
    started, scale = time.monotonic(), session.scale
    source = session.folder / "source"
    drawn = [
        "data_prep.synthetic",
        f"--output={source}",
        f"--num_train={scale.num_train}",
        f"--num_test={scale.num_test}",
        f"--source_size={scale.source_size}",
    ]
    session.run(drawn, limit_s=LIMIT_S)
    converted = [
        "data_prep.main",
        f"--source={source}/dicom-images-train",
        f"--rle_csv={source}/train-rle.csv",
        f"--test_source={source}/dicom-images-test",
        f"--output={session.folder}/data",
        f"--sizes={scale.size}",
        "--num_folds=4",
        # The two faulty films that every synthetic folder has.
        "--max_bad_fraction=0.2",
        "--allow_quarantined=2",
    ]
    session.run(converted, limit_s=LIMIT_S)
    figure = f"{scale.num_train} + {scale.num_test} films of {scale.source_size} px"
    seconds = time.monotonic() - started
    return [Row(what=DATA, result=OK, figure=figure, seconds=seconds)]


def train(session: Session) -> list[Row]:
    """Trains with default flags, is stopped, and goes on to the end."""
    workdir = session.folder / "default"
    rows = [stop(session, workdir)]
    try:
        done = resume(session, workdir)
    except (CheckFailed, OutOfTime) as e:
        e.rows = rows
        raise
    figure = f"exit code {done.code}"
    rows.append(Row(what=RESUMED, result=OK, figure=figure, seconds=done.seconds))
    return [*rows, _scores(workdir)]


def _scores(workdir: pathlib.Path) -> Row:
    """Judges the losses and the scores of the run and of its averaged weights."""
    with (workdir / "log.csv").open() as file:
        epochs = list(csv.DictReader(file))
    swa = json.loads((workdir / "result.json").read_text())["scores"]["swa"]
    losses = [float(row[name]) for row in epochs for name in ("loss", "val_loss")]
    numbers = [*losses, *(v for v in swa.values() if isinstance(v, float))]
    finite = all(map(math.isfinite, numbers)) and len(epochs) == EPOCHS
    losses = ", ".join(f"{float(row['loss']):.4f}" for row in epochs)
    figure = f"{len(epochs)} epochs, losses {losses}; SWA's Dice {swa['dice']:.4f}"
    note = "" if finite else "not finite, or not all epochs"
    return Row(what=SCORES, result=OK if finite else BAD, figure=figure, note=note)


def predict(session: Session) -> list[Row]:
    """Predicts, and evaluates the csv."""
    seconds = predict_into(session, "predicted")
    with (session.folder / "predicted" / "submission.csv").open() as file:
        num_rows = sum(1 for _ in csv.DictReader(file))
    row = Row(what=PREDICTED, result=OK, figure=f"{num_rows} films", seconds=seconds)
    return [row, _evaluate(session)]


def predict_again(session: Session) -> list[Row]:
    """Predicts once more, and compares the bytes."""
    seconds = predict_into(session, "again")
    one, other = (_digests(session.folder / name) for name in ("predicted", "again"))
    equal = sum(one[name] == other.get(name) for name in one)
    same = one == other
    return [
        Row(
            what=REPEATED,
            result=OK if same else BAD,
            figure=f"{equal} of {len(one)} files equal",
            seconds=seconds,
            note="csv and probability maps" if same else _unequal(one, other),
        )
    ]


def predict_into(session: Session, name: str, **environment: str) -> float:
    """Predicts the test films with the trained run; returns the seconds it took."""
    arguments = [
        "inference.main",
        f"--data={data(session)}",
        f"--members={session.folder}/default",
        f"--output={session.folder}/{name}",
        "--outputs=csv,probabilities",
    ]
    if not environment:
        arguments += session.needs_gpu
    done = session.run(arguments, limit_s=PREDICT_LIMIT_S, environment=environment)
    return done.seconds


def _digests(folder: pathlib.Path) -> dict[str, str]:
    paths = [folder / "submission.csv", *sorted(folder.glob("probabilities/part-*"))]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _unequal(one: dict[str, str], other: dict[str, str]) -> str:
    names = sorted(
        name for name in one.keys() | other.keys() if one.get(name) != other.get(name)
    )
    return f"differ: {', '.join(names)}"


def _evaluate(session: Session) -> Row:
    arguments = [
        "inference.evaluate",
        f"--data={data(session)}",
        f"--submission={session.folder}/predicted/submission.csv",
        f"--truth={session.folder}/source/test-rle.csv",
        f"--output={session.folder}/evaluation",
    ]
    done = session.run(arguments, limit_s=LIMIT_S)
    dice = json.loads(done.output)["dice"]
    return Row(
        what=EVALUATED,
        result=OK if math.isfinite(dice) else BAD,
        figure=f"Dice {dice:.4f}",
        seconds=done.seconds,
        note="of two epochs on drawn films: it says nothing about real ones",
    )


DATA_SET = Check(name="data", run=make_data, titles=(DATA,))
TRAINING = Check(
    name="training", run=train, titles=(STOPPED, RESUMED, SCORES), after=("data",)
)
PREDICTION = (
    Check(
        name="prediction",
        run=predict,
        titles=(PREDICTED, EVALUATED),
        after=("training",),
    ),
    Check(name="again", run=predict_again, titles=(REPEATED,), after=("prediction",)),
)
