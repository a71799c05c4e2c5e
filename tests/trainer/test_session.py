"""A session hands to the step what its configuration says."""

import pytest

from tests import fakes
from trainer import session
from trainer.input.fold_dataset import FoldDataset


@pytest.mark.parametrize("augment_on", ["host", "device"])
def test_the_step_is_made_as_configured(dataset, tmp_path, monkeypatch, augment_on):
    asked = {}
    monkeypatch.setattr(
        session.step, "make_train", lambda *args, **options: asked.update(options)
    )
    expected = {
        "global_batch_size": 8,
        "accumulation": 2,
        "clip_norm": 0.5,
        "jit": True,
        "label_smoothing": 0.1,
    }
    config = fakes.train_config(ema_momentum=0.9, augment="hflip(p=1)", **expected)
    folder = dataset / "32"
    execution = fakes.execution(
        folder, tmp_path, strategy="single", augment_on=augment_on
    )
    data = FoldDataset(config, folder)
    made = session.Session(config, execution, data)
    assert {name: asked[name] for name in expected} == expected
    assert asked["average"] is made.moving_average is not None
    stored = next(made.batches(session.recipe.parse("none"), 0))["image"].numpy()
    batch = next(made.batches(made.augment, 0))
    # The images are flipped once: here, or later by the seeds that go along.
    on_device = augment_on == "device"
    assert ("seed" in batch) == (asked["augment"] is not None) == on_device
    flipped = stored if on_device else stored[:, :, ::-1]
    assert (batch["image"].numpy() == flipped).all()
