"""The sides of the training benchmark run, and their losses agree."""

import pytest
from absl.testing import flagsaver

from tests import fakes
from tests.benchmarks.cases import training
from tests.benchmarks.sides import first_step
from tests.benchmarks.sides import training_sides as sides
from trainer.input.fold_dataset import FoldDataset

STEPS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    written = tmp_path_factory.mktemp("benchmark")
    sides.write(written, 32, 40)
    return written


@pytest.mark.slow
def test_all_sides_train_and_fit_is_what_we_do(folder, tmp_path):
    config = fakes.train_config(model="tiny", fold=0)
    execution = fakes.execution(folder, tmp_path, strategy="single", steps_per_call=3)
    data = FoldDataset(config, folder)
    data.check()
    assert data.num_train == 40
    made = sides.Sides(config, execution, STEPS)
    assert 0 < made.batch["mask"].numpy().mean() < 1
    runs = made.all((1, STEPS))
    names = (sides.RESIDENT, sides.fit_name(1), sides.fit_name(STEPS))
    # Each side runs twice; the second run continues from the first.
    losses = [[float(runs[name]().output) for name in names] for _ in range(2)]
    for ours, *theirs in losses:
        assert theirs == pytest.approx([ours] * 2, rel=1e-4)
    assert losses[1][0] < losses[0][0]
    assert float(runs[sides.PIPELINE]().output) > 0
    assert 0 < made.waited[0] < 1


def test_presets_of_the_cases_are_there(tmp_path):
    for case in training.CASES.values():
        config, execution = training.read(case, tmp_path)
        assert config.global_batch_size == case.batch_size
        assert execution.data == tmp_path


@pytest.mark.slow
def test_first_step(folder):
    with flagsaver.flagsaver():
        seconds = first_step.train("tiny", folder)
    assert list(seconds) == ["imported", "session", "first step"]
    assert sorted(seconds.values()) == list(seconds.values())
