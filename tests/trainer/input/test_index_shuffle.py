import numpy as np
import pytest
import tensorflow as tf

from trainer.input import index_shuffle


def places(size, turn=0, seed=1, purpose=0):
    index = tf.range(size, dtype=tf.int64)
    turns = tf.fill([size], tf.constant(turn, tf.int64))
    return index_shuffle.permute(
        index, turns, size=size, seed=seed, purpose=purpose
    ).numpy()


@pytest.mark.parametrize("size", [1, 2, 7, 30, 1000])
def test_permutes(size):
    for turn in range(3):
        assert sorted(places(size, turn)) == list(range(size))


def test_every_argument_matters():
    found = [
        places(100),
        places(100, turn=1),
        places(100, seed=2),
        places(100, purpose=1),
        places(100, seed=2**40 + 1),
    ]
    assert len({f.tobytes() for f in found}) == len(found)


@pytest.mark.slow
def test_neighbouring_turns_are_as_good_as_unrelated():
    """Chi-squared per degree of freedom of 30 indices' positions in 600 epochs."""
    size, turns = 30, 600
    index = tf.tile(tf.range(size, dtype=tf.int64), [turns])
    turn = tf.repeat(tf.range(turns, dtype=tf.int64), size)
    found = index_shuffle.permute(index, turn, size=size, seed=3, purpose=0).numpy()
    found = found.reshape(turns, size)
    assert len({row.tobytes() for row in found}) == turns
    expected = turns / size

    def chi_squared(counts):
        return ((counts - expected) ** 2 / expected).sum() / (size - 1) ** 2

    at = np.stack([np.bincount(column, minlength=size) for column in found.T])
    assert 0.8 < chi_squared(at) < 1.2
    moved = (found[1:] - found[:-1]) % size  # From one epoch to the next.
    moves = np.stack([np.bincount(column, minlength=size) for column in moved.T])
    assert 0.8 < chi_squared(moves) < 1.2


def test_passes_go_over_chosen_numbers():
    passes = index_shuffle.ShuffledEpochs(
        numbers=np.array([5, 9, 11]), seed=1, purpose=0
    )
    found = passes(tf.range(12, dtype=tf.int64)).numpy().reshape(4, 3)
    assert all(sorted(row) == [5, 9, 11] for row in found)
    backwards = passes(tf.range(11, -1, -1, dtype=tf.int64)).numpy()
    np.testing.assert_array_equal(backwards[::-1], found.ravel())
