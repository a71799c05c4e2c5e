"""Damaged and hostile files cost themselves, never the run."""

import dataclasses
import functools
import hashlib
import io
import os
import re
import zlib

import numpy as np
import pytest

from data_prep import convert
from data_prep import dicom
from data_prep import folds
from data_prep import image_records
from data_prep import probe
from data_prep import quarantine
from data_prep import schema
from data_prep import stored_pixels
from data_prep import workers
from data_prep.failures import ExitCode
from data_prep.failures import Rejected
from tests import dicom_files

pydicom = dicom.pydicom
LIMITS = workers.Limits(memory_bytes=256 << 20, seconds=30)
# A crash or a timeout is not among them: no mutant may cost its worker.
CODES = {
    "DCM_BAD_BITS",
    "DCM_BAD_GEOMETRY",
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
    "DCM_NO_SYNTAX",
    "DCM_TRUNCATED",
    "IMG_CONSTANT",
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
    """Returns mutant `index`, the same in every run."""
    rng = np.random.default_rng([2024, index])
    data = bytearray(seeds[index % len(seeds)])
    mutate = MUTATIONS[index // len(seeds) % len(MUTATIONS)]
    mutate(data, rng)
    return bytes(data)


def task_of(path, **fields):
    return image_records.Task(
        image_id=path.stem,
        path=path,
        rows=None,
        mask_path=None,
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
    with workers.Crew(convert, num_workers=num_workers, limits=LIMITS) as crew:
        tasks = [task_of(path) for path in paths]
        return {t.path: result for t, result in crew.in_order(convert, tasks)}


@pytest.fixture(scope="module")
def outcomes(mutants):
    return converted(mutants, num_workers=2)


def check_refusal(fault):
    assert isinstance(fault, Rejected), fault
    assert fault.code in CODES, (fault.code, fault.reason)
    assert fault.reason
    assert fault.mend


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
    # The mutator does neither nothing nor only harm.
    assert NUM_MUTANTS // 4 < refused < NUM_MUTANTS * 3 // 4


def test_no_reason_can_break_a_line_or_a_terminal(outcomes):
    refused = [o for o in outcomes.values() if isinstance(o, Rejected)]
    for text in {f.reason for f in refused} | {f.mend for f in refused}:
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
    assert all(isinstance(outcomes[path], Rejected) for path in cuts)


def test_a_mutant_has_one_outcome(mutants, outcomes):
    some = mutants[::3][::-1]
    for path, outcome in converted(some, num_workers=1).items():
        first = outcomes[path]
        if isinstance(outcome, Rejected):
            assert (first.code, first.reason) == (outcome.code, outcome.reason)
        else:
            assert first == outcome


def test_headers_of_mutants(mutants):
    probes = [
        probe.Probe(path=p, mask_path=None, modalities=("CR",), refuse_burned_in=False)
        for p in mutants
    ]
    with workers.Crew(probe.look, num_workers=2, limits=LIMITS) as crew:
        seen = list(crew.in_order(probe.look, probes))
    read = 0
    for _, facts in seen:
        if isinstance(facts, probe.Facts):
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
            continue  # One byte in 256 is changed to what it was.
        with pytest.raises(Rejected) as caught:
            image_records.convert(PIXELS, task_of(path, expected_sha256=expected))
        assert caught.value.code == "DCM_HASH_MISMATCH"


def test_every_truncation_is_refused():
    """Every length of a file of every encoding."""

    def cuts():
        for name, data in dicom_files.seeds(16).items():
            # Deflated files may end with one byte that belongs to nothing.
            padding = name == "deflated" and data.endswith(b"\0")
            for length in range(len(data) - padding):
                yield data[:length]

    count = 0
    with workers.Crew(dicom.read_pixels, num_workers=2, limits=LIMITS) as crew:
        for data, outcome in crew.in_order(dicom.read_pixels, cuts()):
            assert isinstance(outcome, Rejected), f"{len(data)} bytes: {data[-9:]}"
            check_refusal(outcome)
            count += 1
    assert count > 10_000


def test_a_cut_behind_the_pixels_costs_no_pixel():
    pixels = dicom_files.picture(16)
    data = dicom_files.native(pixels, DataSetTrailingPadding=b"\0" * 40)
    whole = dicom_files.as_bytes(data)
    shown = 0
    for length in range(len(whole) - 60, len(whole)):
        try:
            np.testing.assert_array_equal(dicom.read_pixels(whole[:length]), pixels)
            shown += 1
        except Rejected as fault:
            check_refusal(fault)
    assert shown <= 52, "eight of the cuts are in the pixels"


def test_every_cut_of_a_stream_in_a_whole_file_is_refused():
    stream = dicom_files.compressed(dicom_files.picture(24), format="JPEG")
    for length in range(len(stream)):
        data = dicom_files.as_bytes(dicom_files.framed(stream[:length]))
        with pytest.raises(Rejected) as caught:
            dicom.read_pixels(data)
        check_refusal(caught.value)


def edited(data, **fields):
    """Sets elements as they come, without a look at their values."""
    for name, (vr, value) in fields.items():
        if vr == "UI":
            setattr(data, name, pydicom.uid.UID(value, validation_mode=0))
        else:
            data.add_new(name, vr, value)
    return dicom_files.as_bytes(data)


def before_patient(data, element):
    """Puts raw bytes in front of PatientName."""
    place = data.index(b"\x10\x00\x10\x00PN")
    return data[:place] + element + data[place:]


def resized_stream(stream, marker, offset, *values, width):
    """Overwrites the size in a codestream's header."""
    place = stream.index(marker) + offset
    sizes = b"".join(v.to_bytes(width, "big") for v in values)
    return stream[:place] + sizes + stream[place + len(sizes) :]


def deflate_bomb():
    data = dicom_files.as_bytes(
        dicom_files.native(
            dicom_files.picture(16),
            syntax=pydicom.uid.DeflatedExplicitVRLittleEndian,
        )
    )
    length = int.from_bytes(data[140:144], "little")
    start = 144 + length
    plain = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    size = 300 << 20
    bomb = packer.compress(b"\x08\x00\x01\x00UN\0\0" + size.to_bytes(4, "little"))
    for _ in range(size >> 20):
        bomb += packer.compress(bytes(1 << 20))
    return data[:start] + bomb + packer.compress(plain) + packer.flush()


def rle_table(offsets):
    table = len(offsets).to_bytes(4, "little")
    table += b"".join(v.to_bytes(4, "little") for v in offsets)
    return dicom_files.as_bytes(
        dicom_files.framed(
            table.ljust(64, b"\0") + b"\xff\x01" * 40,
            syntax=pydicom.uid.RLELossless,
        )
    )


def hostile():
    """Returns {name: (bytes, codes it may be refused with)}; none: it converts."""
    uid = pydicom.uid
    jpeg = dicom_files.compressed(dicom_files.picture(24), format="JPEG")
    j2k = dicom_files.compressed(
        dicom_files.picture(24), format="JPEG2000", irreversible=False, no_jp2=True
    )
    eps = dicom_files.compressed(dicom_files.picture(24), format="EPS")
    plain = dicom_files.as_bytes(dicom_files.dataset())
    native = dicom_files.as_bytes(dicom_files.native(dicom_files.picture(24)))
    wide = b"\xff\xff\xff\xf0"[::-1]
    nest = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    side = dicom.MAX_SIDE_PX
    damaged = {"DCM_DAMAGED", "DCM_TRUNCATED"}
    big_j2k = resized_stream(j2k, b"\xff\x51", 6, 60_000, 60_000, width=4)
    most_j2k = resized_stream(j2k, b"\xff\x51", 6, side, side, width=4)
    big_jpeg = resized_stream(jpeg, b"\xff\xc0", 5, 65_500, 65_500, width=2)

    def header(rows, columns, pixels=None, **fields):
        data = dicom_files.native(dicom_files.picture(24), **fields)
        data.Rows, data.Columns = rows, columns
        return dicom_files.as_bytes(data)

    def as_j2k(stream, **fields):
        data = dicom_files.framed(stream, syntax=uid.JPEG2000Lossless, **fields)
        return dicom_files.as_bytes(data)

    return {
        "empty": (b"", {"DCM_EMPTY"}),
        "html": (b"<html>" * 99, {"DCM_NOT_DICOM"}),
        "huge-header": (header(20_000, 20_000), {"DCM_BAD_GEOMETRY"}),
        "large-header": (header(side, side), {"DCM_TRUNCATED"}),
        "many-frames": (
            header(24, 24, NumberOfFrames="2000000000"),
            {"DCM_MULTIFRAME"},
        ),
        "minus-frames": (header(24, 24, NumberOfFrames="-3"), {"DCM_FRAME_MISMATCH"}),
        "claims-4gb-of-pixels": (
            native.replace(
                b"\xe0\x7f\x10\x00OB\0\0" + (576).to_bytes(4, "little"),
                b"\xe0\x7f\x10\x00OB\0\0" + wide,
            ),
            damaged,
        ),
        "claims-4gb-of-header": (
            before_patient(plain, b"\x08\x00\x01\x00UN\0\0" + wide),
            damaged | {"DCM_BAD_GEOMETRY"},
        ),
        "rows-as-UL": (edited(dicom_files.dataset(), Rows=("UL", 24)), {None}),
        "rows-as-huge-UL": (
            edited(dicom_files.dataset(), Rows=("UL", 1 << 31)),
            {"DCM_BAD_GEOMETRY"},
        ),
        "rows-as-float": (
            edited(dicom_files.dataset(), Rows=("FD", 24.0)),
            {"DCM_BAD_GEOMETRY"},
        ),
        "deflate-bomb": (deflate_bomb(), {"DCM_BOMB"}),
        "nested": (before_patient(plain, nest * 5000), {"DCM_NESTED", "DCM_DAMAGED"}),
        "j2k-of-another-size": (as_j2k(big_j2k), {"DCM_BAD_GEOMETRY"}),
        "j2k-bomb": (
            as_j2k(most_j2k, Rows=side, Columns=side),
            {"DCM_BOMB"},
        ),
        "jpeg-of-another-size": (
            dicom_files.as_bytes(dicom_files.framed(big_jpeg)),
            {"DCM_BAD_GEOMETRY"},
        ),
        "rle-beyond-end": (rle_table([64, 1 << 31, 0xFFFFFFFF]), damaged),
        "rle-many-segments": (rle_table([64] * 15), damaged),
        "rle-no-segment": (rle_table([]), damaged),
        "rle-into-its-table": (rle_table([0]), damaged),
        "postscript": (dicom_files.as_bytes(dicom_files.framed(eps)), {"DCM_DAMAGED"}),
        "executable": (b"MZ\x90\0POLYGLOT".ljust(128, b"\xcc") + plain[128:], {None}),
        "uid-as-path": (
            edited(
                dicom_files.dataset(),
                SOPInstanceUID=("UI", "../../x"),
                SeriesInstanceUID=("UI", "/etc/passwd"),
                PatientID=("LO", "../../x"),
            ),
            {None},
        ),
        "uid-with-newline": (
            edited(
                dicom_files.dataset(),
                SOPInstanceUID=("UI", "1\n2\0/../x"),
                PatientID=("LO", "=1\n2\0\x1b[2J"),
            ),
            {None},
        ),
        "syntax-with-newline": (
            plain.replace(b"1.2.840.10008.1.2.4.50", b"1.2\n3\x1b[2J5\0/../../x1.2"),
            {"DCM_NO_DECODER", "DCM_NO_SYNTAX", "DCM_DAMAGED"},
        ),
        "window-of-nan": (
            edited(
                dicom_files.native(dicom_files.picture(24)),
                WindowCenter=("DS", "nan"),
                WindowWidth=("DS", "inf"),
            ),
            {"DCM_DAMAGED", "IMG_CONSTANT"},
        ),
        "good": (plain, {None}),
    }


def outside(folder, output):
    """Everything below `folder` that is not output, with time and size."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if f"{parent}/{name}" != str(output)]
        for name in [*folders, *names]:
            facts = os.lstat(f"{parent}/{name}")
            is_dir = os.path.isdir(f"{parent}/{name}")
            found[f"{parent}/{name}"] = is_dir or (facts.st_size, facts.st_mtime_ns)
    return found


@pytest.fixture
def config(convert_config, tmp_path, monkeypatch):
    """Of the test split `in/test` alone, run in a folder of its own."""
    monkeypatch.setattr(convert, "LIMITS", LIMITS)
    (tmp_path / "in" / "test").mkdir(parents=True)
    (tmp_path / "in" / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "in" / "cwd")
    return dataclasses.replace(
        convert_config,
        source=None,
        rle_csv=None,
        test_source=tmp_path / "in" / "test",
        output=tmp_path / "in" / "deep" / "out",
        sizes=(32,),
        max_bad_fraction=1.0,
        allow_quarantined=0,
    )


def stored_ids(config):
    return {
        line.split(",")[0]
        for line in (config.output / convert.SOURCES_FILE).read_text().splitlines()[1:]
    }


def test_hostile_files(config, tmp_path):
    files = hostile()
    for name, (data, _) in files.items():
        (config.test_source / f"{name}.dcm").write_bytes(data)
    before = outside(tmp_path, config.output)
    assert convert.convert(config) == ExitCode.QUARANTINED
    after = outside(tmp_path, config.output)
    after.pop(str(config.output.parent))
    assert after == before
    codes = {path: code for path, code, *_ in quarantine.read(config.output)}
    stored = stored_ids(config)
    for name, (_, expected) in files.items():
        code = codes.pop(f"test/{name}.dcm", None)
        assert code in expected, (name, code)
        assert (name in stored) == (code is None), name
    assert not codes
    for path in config.output.rglob("*"):
        if path.is_file():
            assert b"POLYGLOT" not in path.read_bytes()


def test_things_that_are_no_files(config, tmp_path):
    folder = config.test_source
    good = tmp_path / "in" / "elsewhere.dcm"
    good.write_bytes(dicom_files.as_bytes(dicom_files.dataset()))
    (folder / "good.dcm").write_bytes(good.read_bytes())
    os.mkfifo(folder / "pipe.dcm")
    (folder / "folder.dcm").mkdir()
    (folder / "link.dcm").symlink_to(good)
    (folder / "dangling.dcm").symlink_to(folder / "nothing")
    (folder / "loop.dcm").symlink_to(folder / "loop.dcm")
    (folder / "turn").symlink_to(folder, target_is_directory=True)
    (folder / "a\nb.dcm").write_bytes(good.read_bytes())
    (folder / "=cmd|.dcm").write_bytes(good.read_bytes())
    (folder / f"{'a' * 100}.dcm").write_bytes(good.read_bytes())
    before = outside(tmp_path, config.output)
    assert convert.convert(config) == ExitCode.QUARANTINED
    after = outside(tmp_path, config.output)
    after.pop(str(config.output.parent))
    assert after == before
    assert {(row[0], row[1]) for row in quarantine.read(config.output)} == {
        ("test/pipe.dcm", "SRC_NOT_REGULAR"),
        ("test/folder.dcm", "SRC_NOT_REGULAR"),
        ("test/link.dcm", "SRC_NOT_REGULAR"),
        ("test/dangling.dcm", "SRC_NOT_REGULAR"),
        ("test/loop.dcm", "SRC_NOT_REGULAR"),
        (r"test/a\nb.dcm", "SRC_BAD_ID"),
        ("test/=cmd|.dcm", "SRC_BAD_ID"),
        (f"test/{'a' * 100}.dcm", "SRC_BAD_ID"),
    }
    assert stored_ids(config) == {"good"}


def test_a_file_name_that_is_no_text(config):
    good = dicom_files.as_bytes(dicom_files.dataset())
    (config.test_source / "good.dcm").write_bytes(good)
    (config.test_source / os.fsdecode(b"\xff.dcm")).write_bytes(good)
    assert convert.convert(config) == ExitCode.QUARANTINED
    assert [row[1] for row in quarantine.read(config.output)] == ["SRC_BAD_ID"]
    assert stored_ids(config) == {"good"}


@pytest.mark.parametrize(
    ("charset", "patient"),
    [("unicode_escape", rb"\ud800"), ("utf_7", b"+2AA-"), ("utf_16", b"\0\xd8")],
)
def test_a_patient_id_that_is_no_text(config, charset, patient):
    """pydicom takes any of Python's codecs for a character set."""
    data = pydicom.dcmread(
        io.BytesIO(dicom_files.as_bytes(dicom_files.native(dicom_files.picture(24))))
    )
    data.PatientID = "PATIENT."[: len(patient) + len(patient) % 2]
    data.SpecificCharacterSet = charset.upper()
    raw = dicom_files.as_bytes(data).replace(
        data.PatientID.encode(), patient.ljust(len(data.PatientID))
    )
    (config.test_source / "good.dcm").write_bytes(
        dicom_files.as_bytes(dicom_files.dataset())
    )
    (config.test_source / "odd.dcm").write_bytes(raw)
    assert convert.convert(config) in (ExitCode.DONE, ExitCode.QUARANTINED)
    assert "good" in stored_ids(config)
