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
        }
        for k in range(count)
    ]


def test_a_picture_of_any_number_of_epochs(tmp_path):
    for count in (1, 7):
        training_curves.draw(tmp_path / "progress.png", rows(count))
        picture = cv2.imread(str(tmp_path / "progress.png"))
        assert picture.shape == (800, 700, 3)
        # Only the curves are neither white nor grey nor black.
        colour = np.ptp(picture.astype(int), axis=-1) > 60
        assert colour.sum() > 50
    assert [path.name for path in tmp_path.iterdir()] == ["progress.png"]
