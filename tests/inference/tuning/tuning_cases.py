"""Maps with a known best rule and their truth, for the tests of tuning."""

import numpy as np

from data_prep.dataset import rle
from inference.config import TuneConfig
from inference.prediction import probability_maps
from inference.prediction.probability_maps import ProbabilityMap

SIZE = 32


def a_map(image_id, values, *, height=64, width=64, fold=0, classifier=None):
    return ProbabilityMap(
        image_id=image_id,
        values=np.asarray(values, np.float16),
        source_height=height,
        source_width=width,
        fold=fold,
        classifier=classifier,
    )


def block(size, *, peak, rim):
    """Returns a square lesion of `size` cells a side, less certain at its rim."""
    values = np.zeros((SIZE, SIZE), np.float32)
    values[8 : 8 + size, 8 : 8 + size] = rim
    values[9 : 7 + size, 9 : 7 + size] = peak
    return values


def constructed():
    """Returns maps for which only top 0.7, 4 to 36 cells, bottom 0.3 is always right.

    Lesions have 0.8 in 6 x 6 cells, a rim of 0.4 that belongs to the truth, and a row
    of 0.2 that does not. Noise has 0.9 in 2 x 2 cells, or 0.6 in many. The source has
    the maps' size of 32 x 32, so nothing is upsampled.
    """
    maps, truth = [], {}
    for k in range(8):
        values = block(8, peak=0.8, rim=0.4)
        true = values > 0.3
        values[25, :] = 0.2
        if k % 4 == 1:
            values, true = block(4, peak=0.9, rim=0.1), np.zeros_like(true)
        if k % 4 == 3:
            values, true = block(12, peak=0.6, rim=0.6), np.zeros_like(true)
        maps.append(a_map(f"i{k}", values, height=32, width=32, fold=k // 4))
        truth[f"i{k}"] = [rle.encode(true)]
    return maps, truth


def write_case(folder, maps, truth, **config):
    folder.mkdir(exist_ok=True)
    path = folder / "out_of_fold"
    half = len(maps) // 2
    for k, part in enumerate((maps[:half], maps[half:])):
        name = probability_maps.part_name(k)
        probability_maps.write(path / "probabilities" / name, part)
    provenance = {"members": ["ab" * 32], "tta": ["hflip"], "aspect": "pad"}
    probability_maps.seal(path, provenance | config)
    lines = [f"{i},{code}\n" for i, codes in truth.items() for code in codes]
    (folder / "truth.csv").write_text("ImageId,EncodedPixels\n" + "".join(lines))
    return TuneConfig(
        predictions=path,
        truth=folder / "truth.csv",
        output=folder / "tuning",
        tops=(0.1, 0.3, 0.5, 0.7, 0.85),
        # A cell of a 32 x 32 image has 1024 pixels at 1024.
        min_areas=(0.0, 1024.0, 10240.0, 40960.0),
        bottoms=(0.1, 0.3, 0.5),
        gates=(0.2, 0.5, 0.8),
        num_workers=2,
    )
