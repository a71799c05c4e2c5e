import logging

import numpy as np
import pytest

from data_prep.build import folds
from data_prep.core.errors import CommandError


def make(num_images=300, num_patients=90, seed=0):
    rng = np.random.default_rng(seed)
    labels = {f"i{k}": int(rng.random() < 0.3) for k in range(num_images)}
    groups = {f"i{k}": f"p{rng.integers(num_patients)}" for k in range(num_images)}
    return labels, groups


def test_no_patient_is_in_two_folds():
    labels, groups = make()
    fold_of = folds.assign(labels, groups, num_folds=5, seed=10)
    assert fold_of.keys() == labels.keys()
    fold_of_group = {}
    for image, fold in fold_of.items():
        assert fold_of_group.setdefault(groups[image], fold) == fold


def test_folds_are_stratified():
    labels, groups = make()
    fold_of = folds.assign(labels, groups, num_folds=5, seed=10)
    share = np.mean(list(labels.values()))
    for fold in range(5):
        members = [i for i in labels if fold_of[i] == fold]
        assert abs(len(members) - 60) <= 3
        assert abs(np.mean([labels[i] for i in members]) - share) < 0.05


def test_order_of_input_does_not_matter():
    labels, groups = make()
    expected = folds.assign(labels, groups, num_folds=5, seed=10)
    backwards = dict(reversed(labels.items()))
    assert folds.assign(backwards, groups, num_folds=5, seed=10) == expected
    assert folds.assign(labels, groups, num_folds=5, seed=11) != expected


def test_groups_that_share_a_picture_are_joined():
    groups = {"a": "g3", "b": "g1", "c": "g2", "d": "g1", "e": "g0", "f": "g4"}
    digests = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "", "f": ""}
    joined = folds.join(groups, digests)
    assert joined == {**dict.fromkeys("abcd", "g1"), "e": "g0", "f": "g4"}
    backwards = dict(reversed(digests.items()))
    assert folds.join(groups, backwards) == joined


def test_too_few():
    labels, groups = make(num_images=6, num_patients=3)
    with pytest.raises(CommandError, match="2 patients cannot make 5 folds"):
        folds.assign(labels, groups, num_folds=5, seed=0)
    none = dict.fromkeys(labels, 0)
    single = {i: i for i in labels}
    with pytest.raises(CommandError, match="0 positive images cannot make 2 folds"):
        folds.assign(none, single, num_folds=2, seed=0)


def test_ungrouped_set_is_warned_about(caplog):
    labels, _ = make(num_images=60)
    with caplog.at_level(logging.WARNING):
        folds.assign(labels, {i: i for i in labels}, num_folds=3, seed=0)
    assert "Every image is its own group" in caplog.text


def test_groups_hide_the_patient():
    group = folds.group_of("patient-1", "image-1", "")
    assert group == folds.group_of("patient-1", "image-2", "")
    assert group != folds.group_of("patient-1", "image-1", "secret")
    assert folds.group_of("", "image-1", "") != folds.group_of("", "image-2", "")
    assert "patient" not in group
