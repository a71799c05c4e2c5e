import itertools

import cv2
import numpy as np

from data_prep.build import near_duplicates
from data_prep.build.near_duplicates import MAX_DISTANCE
from data_prep.build.near_duplicates import NUM_BITS
from data_prep.phantom import phantom


def draw(seed, size=128):
    rng = np.random.default_rng(seed)
    return phantom.draw(rng, size=size, pneumothorax=seed % 2 == 0).image


def flipped(bits, positions):
    changed = bits.copy()
    changed[list(positions)] ^= 1
    return changed


def as_hash(bits):
    return np.packbits(bits).tobytes().hex()


def distance(one, other):
    bits = [
        np.unpackbits(np.frombuffer(bytes.fromhex(h), np.uint8)) for h in (one, other)
    ]
    return int((bits[0] != bits[1]).sum())


def test_the_same_film_saved_otherwise_is_found():
    film = draw(0)
    stored = {
        "film": film,
        "jpeg": cv2.imdecode(cv2.imencode(".jpg", film)[1], 0),
        "small": cv2.resize(film, (96, 96), interpolation=cv2.INTER_AREA),
        "brighter": (255 * (film / 255) ** 0.9).astype(np.uint8),
        "other": draw(1),
    }
    hashes = {i: near_duplicates.perceptual_hash(x) for i, x in stored.items()}
    found = near_duplicates.find(hashes)
    together = near_duplicates.join(
        [(a, b) for a, b, _ in found], {i: i for i in hashes}
    )
    alike = {i for i in hashes if together[i] == together["film"]}
    assert alike == {"film", "jpeg", "small", "brighter"}


def test_different_films_are_not():
    hashes = {
        f"i{seed:03}": near_duplicates.perceptual_hash(draw(seed)) for seed in range(80)
    }
    assert near_duplicates.find(hashes) == []
    closest = min(distance(a, b) for a, b in itertools.combinations(hashes.values(), 2))
    assert closest > 2 * MAX_DISTANCE - 4


def test_every_pair_within_the_distance_is_found_and_no_other():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2, NUM_BITS).astype(np.uint8)
    hashes = {"base": as_hash(base)}
    for k in range(60):
        count = 1 + k % (2 * MAX_DISTANCE)
        positions = rng.choice(NUM_BITS, count, replace=False)
        hashes[f"near{k:02}"] = as_hash(flipped(base, positions))
    expected = sorted(
        (a, b, distance(hashes[a], hashes[b]))
        for a, b in itertools.combinations(sorted(hashes), 2)
        if distance(hashes[a], hashes[b]) <= MAX_DISTANCE
    )
    assert len(expected) > 20
    assert near_duplicates.find(hashes) == expected


def test_one_bit_in_every_band_but_one_is_found():
    base = np.zeros(NUM_BITS, np.uint8)
    bands = near_duplicates._BAND_OF_BIT
    positions = [np.flatnonzero(bands == k)[0] for k in range(MAX_DISTANCE)]
    hashes = {"a": as_hash(base), "b": as_hash(flipped(base, positions))}
    assert near_duplicates.find(hashes) == [("a", "b", MAX_DISTANCE)]


def test_many_equal_hashes_are_one_star():
    hashes = {f"i{k:04}": "0" * 64 for k in range(2000)}
    found = near_duplicates.find(hashes)
    assert found == [("i0000", f"i{k:04}", 0) for k in range(1, 2000)]
    assert near_duplicates.find({}) == []


def test_joined_groups_take_the_first_name():
    groups = {"a": "g3", "b": "g1", "c": "g2", "d": "g4"}
    joined = near_duplicates.join([("a", "b"), ("c", "a")], groups)
    assert joined == {"a": "g1", "b": "g1", "c": "g1", "d": "g4"}
