"""The table of augmentation ops, by their names in a recipe."""

from trainer.augment import distortion
from trainer.augment import geometric
from trainer.augment import photometric

OPS = {
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
