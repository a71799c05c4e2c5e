import dataclasses
import logging
import pathlib
import statistics

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests import fakes
from trainer import loop
from trainer.config import CrossValidation
from trainer.run import cross_validation


@pytest.fixture
def config(dataset, tmp_path):
    return CrossValidation(
        data=dataset / "32",
        output=tmp_path / "runs",
        folds=(0, 2),
        seeds=(0, 1),
        flagfile="--epochs=1\n",
        strategy="single",
        require_gpu=False,
        passed_over=(),
    )


@pytest.fixture
def member():
    return fakes.train_config(epochs=1, swa_epochs=1, augment="none")


@pytest.fixture
def trained(monkeypatch, member):
    """Trains members in this process; returns what was trained."""
    done = []

    def train(config, fold, seed):
        done.append((fold, seed))
        workdir = config.output / cross_validation.name(fold, seed)
        loop.train(
            dataclasses.replace(member, fold=fold, seed=seed),
            fakes.execution(config.data, workdir, strategy="single"),
        )
        return ExitCode.DONE

    monkeypatch.setattr(cross_validation, "_train", train)
    return done


@pytest.mark.slow
def test_every_member_once_and_the_summary(config, member, trained, capsys):
    assert cross_validation.run(config, member) == ExitCode.DONE
    assert trained == [(0, 0), (2, 0), (0, 1), (2, 1)]
    summary = durable.read_json(config.output / cross_validation.SUMMARY, fix="")
    dice = [row["swa dice"] for row in summary["members"]]
    assert summary["mean"]["swa dice"] == pytest.approx(statistics.mean(dice))
    assert summary["sd"]["swa dice"] == pytest.approx(statistics.stdev(dice))
    shown = capsys.readouterr().out
    assert "fold2-seed1" in shown
    assert f"--members={config.output}/fold0-seed0,{config.output}/fold2-seed0" in shown
    # Again: nothing is left to train; one more seed: its members alone.
    trained.clear()
    cross_validation.run(config, member)
    assert not trained
    cross_validation.run(dataclasses.replace(config, folds=(0, 1)), member)
    assert trained == [(1, 0), (1, 1)]


@pytest.mark.slow
def test_all_folds(config, member, trained):
    every = dataclasses.replace(config, folds=(), seeds=(0,))
    cross_validation.run(every, member)
    assert trained == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.slow
def test_a_member_of_another_configuration_is_refused(config, member, trained):
    one = dataclasses.replace(config, folds=(0,), seeds=(0,))
    cross_validation.run(one, member)
    other = dataclasses.replace(member, learning_rate=0.5)
    with pytest.raises(CommandError, match="learning_rate") as e:
        cross_validation.run(one, other)
    assert e.value.exit_code == ExitCode.CONFLICT


def test_a_member_that_stops_stops_the_rest(config, member, monkeypatch):
    codes = iter([ExitCode.PREEMPTED])
    monkeypatch.setattr(cross_validation, "_train", lambda *_: next(codes))
    assert cross_validation.run(config, member) == ExitCode.PREEMPTED
    assert not (config.output / cross_validation.SUMMARY).exists()


def test_what_is_passed_over_is_told_after_what_it_runs_on(
    config, member, monkeypatch, caplog
):
    monkeypatch.setattr(cross_validation, "_train", lambda *_: ExitCode.PREEMPTED)
    told = dataclasses.replace(config, passed_over=("--fold=3", "--seed=4"))
    with caplog.at_level(logging.INFO):
        cross_validation.run(told, member)
    first, second, *_ = [record.getMessage() for record in caplog.records]
    assert first.startswith("runs on ")
    assert second == (
        "of the flagfile, these have no effect here: --fold=3, --seed=4; --folds, "
        "--seeds and --output decide"
    )


@pytest.fixture
def commands(monkeypatch):
    """Returns the commands of members that end at once."""
    begun = []

    class Child:
        def wait(self):
            return ExitCode.PREEMPTED

    def popen(command, **_):
        begun.append(command)
        return Child()

    monkeypatch.setattr(cross_validation.subprocess, "Popen", popen)
    return begun


def flagfile_of(command):
    (flag,) = [a for a in command if a.startswith("--flagfile=")]
    return pathlib.Path(flag.removeprefix("--flagfile="))


def test_other_flags_do_not_replace_those_of_waiting_members(config, member, commands):
    for flagfile in ("--epochs=1\n", "--epochs=2\n"):
        cross_validation.run(dataclasses.replace(config, flagfile=flagfile), member)
    first, second = map(flagfile_of, commands)
    assert first.parent == second.parent == config.output
    assert first.read_text() == "--epochs=1\n"
    assert second.read_text() == "--epochs=2\n"


@pytest.mark.parametrize("change", [pathlib.Path.unlink, lambda p: p.write_text("-")])
def test_flags_that_were_changed_train_nobody(config, member, commands, change):
    cross_validation.run(config, member)
    change(flagfile_of(commands.pop()))
    with pytest.raises(CommandError, match="not what was written") as e:
        cross_validation._train(config, 0, 0)
    assert e.value.exit_code == ExitCode.CORRUPT
    assert not commands


def test_two_runs_do_not_share_an_output(config, member, monkeypatch):
    def train(*_):
        with pytest.raises(CommandError, match="in use by another run") as e:
            cross_validation.run(config, member)
        assert e.value.exit_code == ExitCode.CONFLICT
        return ExitCode.PREEMPTED

    monkeypatch.setattr(cross_validation, "_train", train)
    assert cross_validation.run(config, member) == ExitCode.PREEMPTED
    monkeypatch.setattr(cross_validation, "_train", lambda *_: ExitCode.DIVERGED)
    assert cross_validation.run(config, member) == ExitCode.DIVERGED


def test_faults(config, member):
    with pytest.raises(CommandError, match=r"folds \[0, 1, 2\]"):
        cross_validation.run(dataclasses.replace(config, folds=(7,)), member)
    for changes in ({"seeds": (1, 1)}, {"folds": (-1,)}, {"seeds": ()}):
        with pytest.raises(ValueError, match="Expected"):
            dataclasses.replace(config, **changes)


def test_scores_that_some_members_lack():
    rows = [{"fold": 0, "seed": 0, "a": 1.0, "b": None}, {"fold": 1, "seed": 0, "a": 2}]
    summary = {"members": rows, **cross_validation._mean_and_sd(rows[:1])}
    assert summary["mean"] == {"a": 1.0, "b": None}
    assert summary["sd"] == {"a": None, "b": None}


def test_members_with_other_scores_make_one_table():
    """With --top_k each has its own epochs, and an earlier version other scores."""
    results = [
        {"best_dice": 0.5, "top": {"epoch00002": 0.5}, "swa": {"dice": 0.5}},
        {"best_tuned_dice": 0.7, "best_by": "tuned_dice", "swa": {"dice": 0.7}},
    ]
    rows = [
        {"fold": k, "seed": 0, **cross_validation._flat(scores)}
        for k, scores in enumerate(results)
    ]
    summary = {"members": rows, **cross_validation._mean_and_sd(rows)}
    assert summary["mean"] == {
        "best_dice": 0.5,
        "swa dice": pytest.approx(0.6),
        "best_tuned_dice": 0.7,
    }
    lines = cross_validation.table(summary).splitlines()
    assert lines[-3].split() == ["fold1-seed0", "-", "0.7000", "0.7000"]
