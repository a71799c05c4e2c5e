"""A damaged file costs only itself: mutants, and files cut at every length."""

import functools
import hashlib
import re

import numpy as np
import pytest

from data_prep.build import folds
from data_prep.build import image_records
from data_prep.core import workers
from data_prep.core.errors import InputError
from data_prep.dataset import schema
from data_prep.dataset import stored_pixels
from data_prep.pixels import dicom
from data_prep.source import probe
from data_prep.source.source_file import SourceFile
from tests import dicom_files

LIMITS = workers.Limits(memory_bytes=256 << 20, seconds=30)
# Crashes and timeouts are not among them: no mutant may cost its worker.
CODES = {
    "DCM_BAD_BITS",
    "DCM_BAD_GEOMETRY",
    "DCM_BAD_POLARITY",
    "DCM_BAD_RESCALE",
    "DCM_BOMB",
    "DCM_COLOUR",
    "DCM_DAMAGED",
    "DCM_EMPTY",
    "DCM_FRAME_MISMATCH",
    "DCM_MULTIFRAME",
    "DCM_NESTED",
    "DCM_NOT_DICOM",
    "DCM_NO_DECODER",
    "DCM_NO_PIXELS",
    "DCM_NOT_SQUARE",
    "DCM_TOO_LARGE",
    "DCM_TRUNCATED",
    "IMG_CONSTANT",
    "IMG_FEW_LEVELS",
}
PIXELS = image_records.Pixels(
    sizes=(32,),
    aspect="pad",
    interpolation="area",
    clahe="opencv(clip_limit=2.0, tiles=8)",
    voi="first",
    frame=None,
    dicom_decoder="pydicom",
    pixel_encoding="raw",
)
NUM_MUTANTS = 2000


def flip_bit(data, rng):
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)


def change_byte(data, rng):
    data[rng.integers(len(data))] = rng.integers(256)


def change_header(data, rng):
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(128, 700)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])


def cut(data, rng):
    del data[rng.integers(len(data)) :]


def repeat_slice(data, rng):
    start, length = rng.integers(len(data)), rng.integers(1, 200)
    data[start:start] = data[start : start + length]


def delete_slice(data, rng):
    start, length = rng.integers(len(data)), rng.integers(1, 200)
    del data[start : start + length]


def change_length(data, rng):
    """Writes an extreme value where an element has its length."""
    places = [m.end() for m in re.finditer(rb"(OB|OW|SQ|UN)\0\0|[A-Z]{2}", data)]
    place = rng.choice(places)
    value = rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
    width = rng.choice([2, 4])
    data[place : place + width] = int(value).to_bytes(4, "little")[:width]


MUTATIONS = (
    flip_bit,
    change_byte,
    change_header,
    cut,
    repeat_slice,
    delete_slice,
    change_length,
)


def mutant(seeds, index):
    """Returns mutant `index`, which is the same in every run."""
    rng = np.random.default_rng([2024, index])
    data = bytearray(seeds[index % len(seeds)])
    mutate = MUTATIONS[index // len(seeds) % len(MUTATIONS)]
    mutate(data, rng)
    return bytes(data)


def task_of(path, **fields):
    return image_records.Task(
        image_id=path.stem,
        file=SourceFile(path=path, kind="dicom"),
        rows=None,
        mask_file=None,
        label=-1,
        fold=-1,
        group="",
        **{"expected_sha256": None, **fields},
    )


@pytest.fixture(scope="module")
def mutants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutants")
    seeds = list(dicom_files.seeds(64).values())
    paths = []
    for index in range(NUM_MUTANTS):
        paths.append(folder / f"m{index:04d}.dcm")
        paths[-1].write_bytes(mutant(seeds, index))
    return paths


def converted(paths, num_workers):
    """Returns {file name: outcome}, in the order of `paths`."""
    convert = functools.partial(image_records.convert, PIXELS)
    with workers.WorkerPool(convert, num_workers=num_workers, limits=LIMITS) as pool:
        tasks = [task_of(path) for path in paths]
        return {t.file.path: result for t, result in pool.imap_ordered(convert, tasks)}


@pytest.fixture(scope="module")
def outcomes(mutants):
    return converted(mutants, num_workers=2)


def check_refusal(fault):
    assert isinstance(fault, InputError), fault
    assert fault.code in CODES, (fault.code, fault.reason)
    assert fault.reason
    assert fault.fix


def check_record(path, outcome):
    assert outcome.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    record = schema.parse(outcome.records[32])
    assert record.image_id == path.stem
    assert 1 <= record.source_height <= dicom.MAX_SIDE_PX
    assert 1 <= record.source_width <= dicom.MAX_SIDE_PX
    image = stored_pixels.decode(record.pixels, 32, "raw")
    assert outcome.sums[32][0] == image.sum(dtype=int)


def test_every_mutant_is_a_record_or_a_refusal(mutants, outcomes):
    assert list(outcomes) == mutants
    refused = 0
    for path, outcome in outcomes.items():
        if isinstance(outcome, image_records.Converted):
            check_record(path, outcome)
        else:
            check_refusal(outcome)
            refused += 1
    # Some mutants convert and some do not.
    assert NUM_MUTANTS // 4 < refused < NUM_MUTANTS * 3 // 4


def test_no_reason_can_break_a_line_or_a_terminal(outcomes):
    refused = [o for o in outcomes.values() if isinstance(o, InputError)]
    for text in {f.reason for f in refused} | {f.fix for f in refused}:
        assert text.isascii(), text
        assert text.isprintable(), text


def test_a_cut_mutant_is_refused(mutants, outcomes):
    num_seeds = len(dicom_files.seeds(64))
    kinds = [i // num_seeds % len(MUTATIONS) for i in range(NUM_MUTANTS)]
    cuts = [
        path
        for path, kind in zip(mutants, kinds, strict=True)
        if MUTATIONS[kind] is cut
    ]
    assert len(cuts) > 200
    assert all(isinstance(outcomes[path], InputError) for path in cuts)


def test_a_mutant_has_one_outcome(mutants, outcomes):
    some = mutants[::3][::-1]
    for path, outcome in converted(some, num_workers=1).items():
        first = outcomes[path]
        if isinstance(outcome, InputError):
            assert (first.code, first.reason) == (outcome.code, outcome.reason)
        else:
            assert first == outcome


def test_headers_of_mutants(mutants):
    probes = [
        probe.Probe(
            file=SourceFile(path=p, kind="dicom"),
            mask_file=None,
            modalities=("CR",),
            refuse_burned_in=False,
        )
        for p in mutants
    ]
    with workers.WorkerPool(
        probe.read_header_facts, num_workers=2, limits=LIMITS
    ) as pool:
        results = list(pool.imap_ordered(probe.read_header_facts, probes))
    read = 0
    for _, facts in results:
        if isinstance(facts, probe.HeaderFacts):
            assert len(folds.group_of(facts.patient_id, "an-image", "")) == 32
            read += 1
        elif facts.code != "DCM_NOT_CXR":
            check_refusal(facts)
    assert read > NUM_MUTANTS // 4


def test_a_source_manifest_refuses_every_mutant(mutants):
    clean = [
        hashlib.sha256(data).hexdigest() for data in dicom_files.seeds(64).values()
    ]
    for index, path in enumerate(mutants):
        expected = clean[index % len(clean)]
        if hashlib.sha256(path.read_bytes()).hexdigest() == expected:
            continue  # One byte in 256 keeps its value.
        with pytest.raises(InputError) as e:
            image_records.convert(PIXELS, task_of(path, expected_sha256=expected))
        assert e.value.code == "DCM_HASH_MISMATCH"


def test_every_truncation_is_refused():
    """Cuts a file of every encoding at every length."""

    def cuts():
        for name, data in dicom_files.seeds(16).items():
            assert dicom.read_pixels(data).shape == (16, 16), "the whole is sound"
            # Deflated files may end with a padding byte.
            padding = name == "deflated" and data.endswith(b"\0")
            for length in range(len(data) - padding):
                yield data[:length]

    count = 0
    with workers.WorkerPool(dicom.read_pixels, num_workers=2, limits=LIMITS) as pool:
        for data, outcome in pool.imap_ordered(dicom.read_pixels, cuts()):
            assert isinstance(outcome, InputError), f"{len(data)} bytes: {data[-9:]}"
            check_refusal(outcome)
            count += 1
    assert count > 10_000


def test_a_cut_behind_the_pixels_costs_no_pixel():
    pixels = dicom_files.picture(16)
    data = dicom_files.native(pixels, DataSetTrailingPadding=b"\0" * 40)
    file_bytes = dicom_files.as_bytes(data)
    shown = 0
    for length in range(len(file_bytes) - 60, len(file_bytes)):
        try:
            np.testing.assert_array_equal(
                dicom.read_pixels(file_bytes[:length]), pixels
            )
            shown += 1
        except InputError as fault:
            check_refusal(fault)
    # 52 of the 60 cuts are after the pixels. Some leave half the header of the next
    # element, which is a fault of its own.
    assert 45 <= shown <= 52


def test_every_cut_of_a_stream_in_a_whole_file_is_refused():
    stream = dicom_files.compressed(dicom_files.picture(24), format="JPEG")
    file_bytes = dicom_files.as_bytes(dicom_files.framed(stream))
    assert dicom.read_pixels(file_bytes).shape == (24, 24)
    for length in range(len(stream)):
        data = dicom_files.as_bytes(dicom_files.framed(stream[:length]))
        with pytest.raises(InputError) as e:
            dicom.read_pixels(data)
        check_refusal(e.value)
