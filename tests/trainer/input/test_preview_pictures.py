import cv2
import numpy as np
import pytest

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from trainer.augment import recipe
from trainer.config import PreviewConfig
from trainer.input import preview_pictures

RECIPE = "hflip(p=0.1)|oneof(inversion, gamma(2, 2), p=0)|hflip(p=0.2)"
TILE_PX, ROW_PX, COLUMN_PX = 192, 192 + 22 + 6, 192 + 6


def config(dataset, output, **changes):
    fields = {
        "data": dataset / "32",
        "augment": RECIPE,
        "output": output,
        "num_images": 2,
        "seed": 1,
    }
    return PreviewConfig(**(fields | changes))


def test_sheet_has_a_row_for_each_op_and_one_for_all(dataset, tmp_path):
    path = tmp_path / "new" / "sheet.png"
    preview_pictures.write(config(dataset, path))
    sheet = cv2.imread(str(path))
    assert sheet.shape == (4 * ROW_PX, 4 * COLUMN_PX, 3)

    def tile(row, column):
        top, left = row * ROW_PX, column * COLUMN_PX
        return sheet[top : top + TILE_PX, left : left + TILE_PX].astype(int)

    for row in range(4):
        np.testing.assert_array_equal(tile(row, 0), tile(0, 0))
    grey = (np.ptp(tile(1, 0), axis=-1) == 0) & (np.ptp(tile(1, 1), axis=-1) == 0)
    total = (tile(1, 0) + tile(1, 1))[grey]
    assert np.abs(total - 255).max() <= 2  # Enlarged after inversion.
    assert (tile(2, 1) <= tile(2, 0))[grey].all()
    assert (tile(2, 1) < tile(2, 0))[grey].mean() > 0.5
    # The outline of a positive image's mask, in the sheet's green.
    assert (np.ptp(tile(0, 0), axis=-1) > 50).any()
    mirrored = np.abs(tile(0, 1)[:, ::-1] - tile(0, 0))
    assert np.median(mirrored) <= 1
    assert np.median(np.abs(tile(0, 1) - tile(0, 0))) > 1


def test_same_seed_same_bytes(dataset, tmp_path):
    written = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / f"{name}.png"
        preview_pictures.write(config(dataset, path, augment="rotation", seed=seed))
        written.append(path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_a_dataset_in_a_store_is_drawn_like_a_local_one(dataset, faulty, tmp_path):
    stored = remote.parse("faulty://films/data")
    for file in (dataset / "32").iterdir():
        (stored / "32" / file.name).upload(file)
    written = []
    for name, folder in (("a", dataset), ("b", stored)):
        path = tmp_path / f"{name}.png"
        preview_pictures.write(config(folder, path, augment="hflip"))
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_rows_are_named_as_in_a_recipe():
    rows = preview_pictures._rows(recipe.parse("seed_segmentation"))
    assert [label for label, _ in rows] == [
        "hflip",
        "contrast(0.2)",
        "gamma(0.8, 1.2)",
        "brightness(0.2, mean)",
        "elastic(120, 6, 3.6)",
        "grid(5, 0.3)",
        "optical(2, 0.5)",
        "crop(0.6875, 1)",
        "the whole recipe",
    ]
    for label, one in rows[:-1]:
        assert recipe.parse(label) == one


def test_faults(dataset, tmp_path):
    with pytest.raises(ConfigError, match="Expected ops to preview"):
        config(dataset, tmp_path / "a.png", augment="none")
    with pytest.raises(ConfigError, match="ends in .png. Received: --output="):
        config(dataset, tmp_path / "a.jpg")
    with pytest.raises(CommandError, match="no dataset.json"):
        preview_pictures.write(config(tmp_path, tmp_path / "a.png"))
