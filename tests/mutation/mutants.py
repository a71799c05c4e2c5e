"""Damaged files: what was done to them, and what became of each."""

import dataclasses
import re

import numpy as np

from data_prep.core.errors import InputError
from tests.mutation.seeds import Seed
from tests.mutation.seeds import original
from tests.mutation.seeds import read
from tests.mutation.seeds import seeds
from tests.mutation.validity import is_valid

EQUAL, OTHER, SILENT = "equal pixels", "other pixels, valid", "SILENT DAMAGE"
_SPAN = 200


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A number that decides on a seed and what becomes of it."""

    index: int

    @property
    def seed(self) -> Seed:
        found = list(seeds().values())
        return found[self.index % len(found)]

    @property
    def mutation(self) -> str:
        names = list(MUTATIONS)
        return names[self.index // len(seeds()) % len(names)]

    def data(self) -> bytes:
        """Returns its bytes, the same in every run."""
        rng = np.random.default_rng([2024, self.index])
        data = bytearray(self.seed.data)
        MUTATIONS[self.mutation](data, rng, self.seed)
        return bytes(data)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one mutant.

    Attributes:
      result: the code of a refusal, EQUAL, OTHER or SILENT.
      hit: whether its encoded pixels were changed, or else only what is around them.
    """

    result: str
    hit: bool


def try_mutant(mutant: Mutant) -> Outcome:
    """Reads one mutant, and judges it where it reads as something else."""
    seed, data = mutant.seed, mutant.data()
    changed = _changed(seed.data, data)
    hit = any(changed[0] < stop and start < changed[1] for start, stop in seed.parts)
    try:
        pixels = read(seed, data)
    except InputError as e:
        return Outcome(result=e.code, hit=hit)
    if np.array_equal(pixels, original(seed.name)):
        return Outcome(result=EQUAL, hit=hit)
    sound = not hit or is_valid(seed, data, changed)
    return Outcome(result=OTHER if sound else SILENT, hit=hit)


def _changed(old: bytes, new: bytes) -> tuple[int, int]:
    """Returns (start, stop) of what differs, in places of `old`."""
    shorter = min(len(old), len(new))
    first = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    last = 0
    while last < shorter - first and old[-1 - last] == new[-1 - last]:
        last += 1
    # An insertion counts as a change of the byte before which it is.
    return first, max(first + 1, len(old) - last)


def _flip_bit(data, rng, seed):
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)


def _flip_pixel_bit(data, rng, seed):
    start, stop = seed.parts[rng.integers(len(seed.parts))]
    data[rng.integers(start, stop)] ^= 1 << rng.integers(8)


def _change_byte(data, rng, seed):
    data[rng.integers(len(data))] = rng.integers(256)


def _change_header(data, rng, seed):
    high = max(16, min(len(data), seed.parts[0][0] or 200))
    for _ in range(rng.integers(1, 4)):
        low = 128 if high > 400 else 2
        data[rng.integers(low, high)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])


def _cut(data, rng, seed):
    del data[rng.integers(len(data)) :]


def _repeat_slice(data, rng, seed):
    start, length = rng.integers(len(data)), rng.integers(1, _SPAN)
    data[start:start] = data[start : start + length]


def _delete_slice(data, rng, seed):
    start, length = rng.integers(len(data)), rng.integers(1, _SPAN)
    del data[start : start + length]


def _zero_block(data, rng, seed):
    """Makes a hole that keeps the length, as a lost block of a disk does."""
    start, length = rng.integers(len(data)), rng.integers(1, 2 * _SPAN)
    data[start : start + length] = bytes(len(data[start : start + length]))


def _swap_blocks(data, rng, seed):
    length = int(rng.integers(1, min(_SPAN, len(data) // 3)))
    a, b = sorted(rng.integers(0, len(data) - length, 2).tolist())
    if b - a >= length:
        first, second = data[a : a + length], data[b : b + length]
        data[a : a + length], data[b : b + length] = second, first


def _change_length(data, rng, seed):
    """Writes an extreme value where an element, segment or chunk has its length."""
    pattern = rb"(OB|OW|SQ|UN)\0\0|[A-Z]{2}"
    if seed.codec == "png":
        pattern = rb"(?=....(IHDR|IDAT|IEND))"
    elif seed.kind == "jpeg":
        pattern = rb"\xff[\xc0-\xfe]"
    places = [m.end() for m in re.finditer(pattern, bytes(data), re.DOTALL)]
    place = rng.choice(places) if places else 0
    value = rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
    width = rng.choice([2, 4])
    data[place : place + width] = int(value).to_bytes(4, "little")[:width]


MUTATIONS = {
    "flip a bit": _flip_bit,
    "flip a bit of the pixels": _flip_pixel_bit,
    "change a byte": _change_byte,
    "change the header": _change_header,
    "cut": _cut,
    "repeat a slice": _repeat_slice,
    "delete a slice": _delete_slice,
    "zero a block": _zero_block,
    "swap two blocks": _swap_blocks,
    "change a length": _change_length,
}
