"""No damaged file passes for a sound one, unless its encoded pixels stayed valid.

`python -m tests.benchmarks.cases.mutants` tries 20,000 and lists what passes.
"""

import collections
import io

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import jpeg
from tests.benchmarks.cases import mutants as trials
from tests.mutation import mutants
from tests.mutation import seeds
from tests.mutation import validity

# Each mutation of each seed comes three times.
NUM_MUTANTS = 3 * len(mutants.MUTATIONS) * len(seeds.seeds())
# The codes of a worker that hung or died.
OUR_FAULTS = ("DCM_TIMEOUT", "DCM_DECODER_CRASH")


@pytest.fixture(scope="module")
def tried():
    return list(trials.run(range(NUM_MUTANTS), num_workers=2))


def test_no_damage_is_silent(tried):
    silent = [
        (m.index, m.seed.name, m.mutation)
        for m, o in tried
        if o.result == mutants.SILENT
    ]
    assert not silent


def test_every_outcome_is_one_that_a_user_can_act_on(tried):
    assert len(tried) == NUM_MUTANTS > 600
    results = collections.Counter(o.result for _, o in tried)
    assert all(r.isprintable() and r not in OUR_FAULTS for r in results)
    # Some pass, some do not, and some pass with what no reader could refuse.
    assert 1 - (results[mutants.EQUAL] + results[mutants.OTHER]) / NUM_MUTANTS > 0.4
    assert results[mutants.EQUAL] > 20
    assert results[mutants.OTHER] > 20


def test_checked_kinds_never_show_other_pixels(tried):
    """PNG and gzip have check sums over all that makes pixels."""
    for mutant, outcome in tried:
        if mutant.seed.codec in ("png", "gzip"):
            assert outcome.result not in (mutants.OTHER, mutants.SILENT), mutant


@pytest.mark.parametrize("name", seeds.seeds())
def test_a_seed_is_valid_and_its_middle_zeroed_is_not(name):
    seed = seeds.seeds()[name]
    start, stop = seed.parts[0]
    assert validity.is_valid(seed, seed.data, (start, start + 1))
    half = (start + stop) // 2
    damaged = seed.data[:half] + bytes(min(300, stop - half)) + seed.data[half + 300 :]
    damaged = damaged[: len(seed.data)]
    # Zeros may be values like all others, and coefficients of a progressive scan.
    unchecked = seed.codec in ("native", "jpeg2000") or "progressive" in name
    assert unchecked or not validity.is_valid(seed, damaged, (half, half + 1))


def lenient(data):
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return np.asarray(image)
    except Exception as e:
        raise InputError("IMG_DAMAGED", "damaged", fix="get it again") from e


def silent_among(codec):
    indices = (i for i in range(3000) if mutants.Mutant(i).seed.codec == codec)
    found = (mutants.try_mutant(mutants.Mutant(i)) for i in indices)
    return sum(o.result == mutants.SILENT for o in found)


def test_a_lenient_decoder_would_be_found(monkeypatch):
    for name in seeds.seeds():
        seeds.original(name)  # Kept before the decoder is exchanged.
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(jpeg, "decode", lenient)
    assert silent_among("jpeg") > 10
    monkeypatch.setattr(mutants, "read", lambda seed, data: lenient(data))
    assert silent_among("png") > 10
