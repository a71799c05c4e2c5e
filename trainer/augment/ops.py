"""The table of augmentation ops, by their names in a recipe."""

import dataclasses
from typing import Any

from trainer.augment import distortion
from trainer.augment import geometric
from trainer.augment import photometric

OPS = {
    "identity": geometric.Identity,
    "inversion": photometric.Inversion,
    "brightness": photometric.Brightness,
    "contrast": photometric.Contrast,
    "gamma": photometric.Gamma,
    "smoothing": photometric.Smoothing,
    "hflip": geometric.HorizontalFlip,
    "rotation": geometric.Rotation,
    "zoom": geometric.Zoom,
    "shift": geometric.Shift,
    "crop": geometric.RandomSizedCrop,
    "elastic": distortion.Elastic,
    "grid": distortion.GridDistortion,
    "optical": distortion.OpticalDistortion,
}


def describe(op: Any) -> str:
    """Returns an op as written in a recipe, such as "rotation(15)"."""
    name = next(name for name, kind in OPS.items() if type(op) is kind)
    values = [
        f"{value:g}" if isinstance(value, (int, float)) else str(value)
        for value in dataclasses.astuple(op)
    ]
    return f"{name}({', '.join(values)})" if values else name
