import cv2
import numpy as np

from trainer.run import training_curves


def rows(count):
    return [
        {
            "epoch": k + 1,
            "learning_rate": 1e-3 / (k + 1),
            "loss": 1.0 / (k + 1),
            "val_loss": 1.2 / (k + 1),
            "val_dice": k / count,
            "val_dice_positive": None if k == 1 else k / count,
            "val_tuned_rule": "threshold(0.5)",
            "val_auc": 0.5,
        }
        for k in range(count)
    ]


def test_plots_any_number_of_epochs(tmp_path):
    for count in (1, 7):
        training_curves.draw(tmp_path / "progress.png", rows(count))
        picture = cv2.imread(str(tmp_path / "progress.png"))
        assert picture.shape == (1080, 700, 3)
        # Only the lines have a color; grid and text are grey.
        colour = np.ptp(picture.astype(int), axis=-1) > 60
        assert colour.sum() > 50
    classifier = [
        {k: v for k, v in row.items() if not k.startswith(("val_d", "val_t"))}
        for row in rows(3)
    ]
    training_curves.draw(tmp_path / "progress.png", classifier)
    assert cv2.imread(str(tmp_path / "progress.png")).shape == (810, 700, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["progress.png"]
