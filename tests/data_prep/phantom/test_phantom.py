import dataclasses

import numpy as np
import pytest

from data_prep.config import SyntheticConfig
from data_prep.core.errors import CommandError
from data_prep.dataset import rle
from data_prep.labels import rle_csv
from data_prep.phantom import phantom
from data_prep.phantom import synthetic_folder


def draw(seed, size=256, pneumothorax=True):
    rng = np.random.default_rng(seed)
    return phantom.draw(rng, size=size, pneumothorax=pneumothorax)


def test_is_a_function_of_the_seed():
    one, two = draw(1), draw(1)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.mask, two.mask)
    assert (draw(2).image != one.image).any()


def test_masks_vary_in_size():
    shares = [draw(k).mask.mean() for k in range(40)]
    assert min(shares) > 0.0005
    assert max(shares) < 0.12
    assert max(shares) > 5 * min(shares)
    assert not draw(0, pneumothorax=False).mask.any()


def test_rim_is_darker_than_the_lung_beside_it():
    for seed in range(10):
        with_air = draw(seed)
        rim = with_air.mask.astype(bool)
        without = draw(seed, pneumothorax=False)
        assert with_air.image[rim].mean() < without.image[rim].mean() - 15


def test_folder(source):
    rows = rle_csv.read(source / synthetic_folder.TRAIN_CSV)
    files = {p.stem for p in source.glob("dicom-images-train/*/*/*.dcm")}
    assert len(files) == 32
    assert len(files - rows.keys()) == 1
    assert len(rle_csv.read(source / synthetic_folder.TEST_CSV)) == 7
    text = (source / synthetic_folder.TRAIN_CSV).read_text()
    assert text.startswith("ImageId, EncodedPixels\n")
    assert ", -1\n" in text
    several = [r for r in rows.values() if len(r) > 1]
    assert several
    for encoded in several:
        parts = [rle.decode(row, 128, 128) for row in encoded]
        assert (parts[0] & parts[1]).any(), "rows overlap"


def test_folder_of_another_configuration_is_refused(source):
    config = SyntheticConfig(
        output=source,
        num_train=30,
        num_test=7,
        positive_fraction=0.4,
        image_size=128,
        seed=3,
        num_workers=1,
    )
    synthetic_folder.write(config)
    with pytest.raises(CommandError, match="seed: stored 3, asked 4"):
        synthetic_folder.write(dataclasses.replace(config, seed=4))
