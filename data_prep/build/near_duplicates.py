"""Finds films that look alike although their bytes differ.

A film that was saved twice, once as JPEG or at another size or brightness, is another
file with other pixels. In two folds, it lets a network be scored on what it learned.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

import cv2
import numpy as np

_SIDE = 64
_LOW = 16
NUM_BITS = _LOW * _LOW
# Of 4,498,500 pairs of different phantoms none differs in fewer than 20 bits, and two
# bits less are three times rarer each. A phantom saved as JPEG of quality 50 differs
# from its original in 4 bits (median of 40), at half of its size in none, with gamma
# 0.8 in 10. Cropped by 1% it differs in 20, so crops are not found. 64 bits do not tell
# chests apart: different phantoms have equal difference hashes.
MAX_DISTANCE = 12
# So many that two hashes within MAX_DISTANCE have all bits of one band in common.
_NUM_BANDS = MAX_DISTANCE + 1
# Diagonals, so that each band has its share of coarse bits, which are alike in all
# chests, and of fine ones.
_BAND_OF_BIT = np.add.outer(np.arange(_LOW), np.arange(_LOW)).ravel() % _NUM_BANDS


def perceptual_hash(image: np.ndarray) -> str:
    """Returns the signs of the low frequencies of an image around their median.

    It is the hash of the discrete cosine transform (Zauner 2010, Implementation and
    Benchmarking of Perceptual Image Hash Functions, section 3.2.1) at 256 bits.

    Args:
      image: [S, S] uint8.

    Returns:
      64 hexadecimal digits.
    """
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_LOW, :_LOW].ravel()
    # The first is the mean of the image, which the median should not depend on.
    bits = low > np.median(low[1:])
    return np.packbits(bits).tobytes().hex()


def find(hashes: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Returns (image id, image id, distance in bits) of all pairs within MAX_DISTANCE.

    Only images with equal bits in one of 13 bands are compared, since 12 other bits
    can change no more than 12 bands. Of images with equal hashes, each is paired with
    the first alone, and only that one is compared with others.

    Args:
      hashes: {image id: what `perceptual_hash` returned}.

    Returns:
      The pairs, sorted; the ids of a pair are sorted, too.
    """
    same: dict[str, list[str]] = {}
    for image_id in sorted(hashes):
        same.setdefault(hashes[image_id], []).append(image_id)
    pairs = [(first, other, 0) for first, *rest in same.values() for other in rest]
    firsts = [ids[0] for ids in same.values()]
    packed = np.array([list(bytes.fromhex(h)) for h in same], np.uint8)
    packed = packed.reshape(-1, NUM_BITS // 8)
    bits, words = np.unpackbits(packed, axis=1), packed.view(np.uint64)
    near: dict[tuple[int, int], int] = {}
    for band in range(_NUM_BANDS):
        for one, other in _equal_rows(bits[:, band == _BAND_OF_BIT]):
            near |= _within_distance(words, one, other)
    for (one, other), distance in near.items():
        pairs.append((*sorted((firsts[one], firsts[other])), distance))
    return sorted(pairs)


def join(pairs: Iterable[tuple[str, str]], groups: Mapping[str, str]) -> dict[str, str]:
    """Joins the groups of the images of each pair.

    Args:
      pairs: of image ids.
      groups: {image id: group}.

    Returns:
      {image id: group}; joined groups get the name that sorts first among theirs.
    """
    leader = {group: group for group in groups.values()}

    def find_leader(group: str) -> str:
        while leader[group] != group:
            group = leader[group]
        return group

    for one, other in pairs:
        first, second = sorted((find_leader(groups[one]), find_leader(groups[other])))
        leader[second] = first
    return {image_id: find_leader(group) for image_id, group in groups.items()}


def _equal_rows(bits: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the indices of pairs of equal rows, each pair once, in blocks."""
    _, keys = np.unique(np.packbits(bits, axis=1), axis=0, return_inverse=True)
    keys = keys.ravel()  # NumPy 2.0 returns it with two axes.
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    # Equal keys are neighbours now: the next, the one after it, and so on.
    starts = np.arange(len(keys))
    for step in range(1, len(keys)):
        starts = starts[starts + step < len(keys)]
        starts = starts[keys[starts] == keys[starts + step]]
        if not len(starts):
            return
        yield order[starts], order[starts + step]


def _within_distance(
    words: np.ndarray, one: np.ndarray, other: np.ndarray
) -> dict[tuple[int, int], int]:
    """Returns {(index, index): distance} of the pairs within MAX_DISTANCE."""
    distances = np.zeros(len(one), np.uint64)
    # Most pairs are too far apart in their first 64 bits already.
    for word in words.T:
        distances += _count_bits(word[one] ^ word[other])
        close = distances <= MAX_DISTANCE
        one, other, distances = one[close], other[close], distances[close]
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return dict(zip(pairs, distances.tolist(), strict=True))


def _count_bits(words: np.ndarray) -> np.ndarray:
    """Returns the number of ones in each uint64; NumPy has it from 2.0 on."""
    # Sums of neighbouring fields of 1, 2 and 4 bits, and of all bytes (Warren,
    # Hacker's Delight, section 5-1).
    pairs = words - (words >> np.uint64(1) & np.uint64(0x5555555555555555))
    low = np.uint64(0x3333333333333333)
    fours = (pairs & low) + (pairs >> np.uint64(2) & low)
    eights = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (eights * np.uint64(0x0101010101010101)) >> np.uint64(56)
