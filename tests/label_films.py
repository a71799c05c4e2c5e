"""A small set of films with labels of whole images, in the layout of NIH's."""

import pathlib

import numpy as np
import PIL.Image

from data_prep.config import ConvertConfig

NUM_FILMS = 24
SIDE_PX = 64
CSV = "Data_Entry_2017_v2020.csv"
LISTS = ("test_list.txt", "train_val_list.txt")


def write(folder: pathlib.Path) -> None:
    """Writes films, csv and lists; every third film is positive, and brighter.

    Film k is of patient k // 2. Two more films have an empty cell, one more is a
    lateral, and one is in no row of the csv.
    """
    images = folder / "images"
    images.mkdir(parents=True)
    rows = ["Image Index,Finding Labels,Follow-up #,Patient ID,View Position"]
    for k in range(NUM_FILMS + 4):
        positive = k % 3 == 0
        PIL.Image.fromarray(_film(k, positive)).save(images / f"{k:08d}_000.png")
        finding = "Mass|Pneumothorax" if positive else "No Finding"
        view = "PA" if k % 2 else "AP"
        if k in (NUM_FILMS, NUM_FILMS + 1):
            finding = ""
        if k == NUM_FILMS + 2:
            view = "LATERAL"
        if k < NUM_FILMS + 3:
            rows.append(f"{k:08d}_000.png,{finding},0,{k // 2},{view}")
    (folder / CSV).write_text("\n".join(rows) + "\n")
    names = [f"{k:08d}_000.png\n" for k in range(NUM_FILMS)]
    # A third of the films, and all others but the last two.
    (folder / LISTS[0]).write_text("".join(names[:8]))
    (folder / LISTS[1]).write_text("".join(names[8:-2]))


def config(folder: pathlib.Path, output: pathlib.Path, **changes) -> ConvertConfig:
    """Returns the conversion of a folder that `write` wrote; `changes` replace."""
    options = {
        "source": folder / "images",
        "label_csv": (folder / CSV,),
        "views": ("PA", "AP"),
        "output": output,
        "sizes": (32,),
        "num_folds": 3,
        "max_bad_fraction": 0.1,
        "allow_quarantined": 1,
        "num_workers": 1,
    }
    return ConvertConfig(**(options | changes))


def _film(k: int, positive: bool) -> np.ndarray:
    noise = np.random.default_rng(k).integers(0, 90, (SIDE_PX, SIDE_PX), np.uint8)
    noise[16:40, 16:40] += 120 * positive
    return noise
