"""The trainer builds the step from its configuration."""

import numpy as np
import pytest

from tests import fakes
from trainer import trainer
from trainer.input.fold_dataset import FoldDataset


@pytest.mark.slow
@pytest.mark.parametrize("augment_on", ["host", "device"])
def test_the_step_is_made_as_configured(dataset, tmp_path, monkeypatch, augment_on):
    seen = {}

    def make_train(strategy, model, optimizer, loss, config, **options):
        seen.update(options, config=config)

    monkeypatch.setattr(trainer.step, "make_train", make_train)
    config = fakes.train_config(ema_momentum=0.9, augment="hflip(p=1)", clip_norm=0.5)
    folder = dataset / "32"
    execution = fakes.execution(
        folder, tmp_path, strategy="single", augment_on=augment_on
    )
    data = FoldDataset(config, folder)
    made = trainer.Trainer(config, execution, data)
    assert seen["config"] is config
    assert seen["ema"] is made.state.ema is not None
    stored = next(made.batches(trainer.recipe.parse("none"), 0))["image"].numpy()
    batch = next(made.batches(made.augment, 0))
    # The images are flipped once: here, or later by the seeds that go along.
    on_device = augment_on == "device"
    assert ("seed" in batch) == (seen["augment"] is not None) == on_device
    flipped = stored if on_device else stored[:, :, ::-1]
    assert (batch["image"].numpy() == flipped).all()


@pytest.mark.slow
def test_batch_norm_of_averages_sees_the_natural_mix(dataset, tmp_path):
    """A run on positives predicts all films; its averages have their statistics."""

    def statistics(sampling):
        config = fakes.train_config(sampling=sampling, model="tiny", epochs=2)
        folder = dataset / "32"
        execution = fakes.execution(folder, tmp_path, strategy="single")
        data = FoldDataset(config, folder)
        made = trainer.Trainer(config, execution, data)
        made.reestimate_batch_norm()
        norm = made.state.model.get_layer("bn")
        return data, norm.moving_mean.numpy(), norm.moving_variance.numpy()

    natural, *expected = statistics("natural")
    assert natural.natural() is natural
    for sampling in ("positives", "positive_fraction(1)"):
        data, *found = statistics(sampling)
        assert data.natural().steps_per_epoch == natural.steps_per_epoch
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
