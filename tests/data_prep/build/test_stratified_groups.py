"""The folds are those of scikit-learn, bit for bit."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from data_prep.build import stratified_groups


def by_sklearn(classes, names, num_folds):
    fold_of = np.zeros(len(names), np.int64)
    splitter = StratifiedGroupKFold(num_folds)
    for fold, (_, members) in enumerate(splitter.split(names, classes, names)):
        fold_of[members] = fold
    return fold_of


@pytest.mark.parametrize("num_folds", [2, 3, 5, 8, 10, 13])
@pytest.mark.parametrize(
    ("num_images", "num_groups", "share"),
    [
        (60, 60, 0.5),
        (300, 300, 0.22),
        (300, 90, 0.22),
        (500, 40, 0.05),
        (400, 390, 0.9),
    ],
)
def test_equals_scikit_learn(num_images, num_groups, share, num_folds):
    rng = np.random.default_rng([num_images, num_groups, num_folds])
    classes = (rng.random(num_images) < share).astype(np.int64)
    classes[:num_folds] = 1
    # Some groups are much larger than others.
    sizes = rng.pareto(2, num_groups) + 0.3
    drawn = rng.choice(num_groups, num_images, p=sizes / sizes.sum())
    # Each group has an image.
    drawn[:num_groups] = np.arange(num_groups)[:num_images]
    names = [f"{k * 2654435761 % (1 << 32):08x}" for k in drawn.tolist()]
    np.testing.assert_array_equal(
        stratified_groups.deal(classes, names, num_folds),
        by_sklearn(classes, names, num_folds),
    )
