"""A hostile file costs only itself, never the run or another file."""

import dataclasses
import os
import zlib

import pytest

from data_prep.build import convert
from data_prep.build import publishing
from data_prep.build import shard_unit
from data_prep.build import side_tables
from data_prep.core import workers
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv
from data_prep.pixels import dicom
from data_prep.source import quarantine
from tests import dicom_files

pydicom = dicom.pydicom
LIMITS = workers.Limits(memory_bytes=256 << 20, seconds=30)


def edited(data, **fields):
    """Sets elements without validating their values."""
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
    """Returns {name: (bytes, codes of a refusal)}; without codes it must convert."""
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
            edited(dicom_files.dataset(), Rows=("FD", 24.5)),
            {"DCM_BAD_GEOMETRY"},
        ),
        "deflate-bomb": (deflate_bomb(), {"DCM_BOMB"}),
        "nested": (before_patient(plain, nest * 5000), {"DCM_NESTED", "DCM_DAMAGED"}),
        "j2k-of-another-size": (as_j2k(big_j2k), {"DCM_BAD_GEOMETRY"}),
        "j2k-bomb": (
            as_j2k(most_j2k, Rows=side, Columns=side),
            {"DCM_TOO_LARGE", "DCM_BOMB", "NO_MEMORY", "DCM_DAMAGED"},
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
            {None},
        ),
        "good": (plain, {None}),
    }


def outside(folder, output):
    """Returns time and size of everything below `folder` that is not output."""
    stat_of = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if f"{parent}/{name}" != str(output)]
        for name in [*folders, *names]:
            facts = os.lstat(f"{parent}/{name}")
            is_dir = os.path.isdir(f"{parent}/{name}")
            stat_of[f"{parent}/{name}"] = is_dir or (facts.st_size, facts.st_mtime_ns)
    return stat_of


@pytest.fixture
def config(convert_config, tmp_path, monkeypatch):
    """Returns the conversion of the test split `in/test`, run in its own folder."""
    monkeypatch.setattr(shard_unit, "LIMITS", LIMITS)
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
        for line in (config.output / publishing.SOURCES_FILE)
        .read_text()
        .splitlines()[1:]
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
        ("test/dangling.dcm", "SRC_MISSING"),
        ("test/loop.dcm", "SRC_LINK_LOOP"),
    }
    rows = (config.output / side_tables.IDS_FILE).read_text().splitlines()
    names = dict(row.split(",") for row in rows[1:])
    assert sorted(names.values()) == sorted(
        [r"a\nb.dcm", "'=cmd|.dcm", f"{'a' * 100}.dcm", "good.dcm", "link.dcm"]
    )
    assert stored_ids(config) == names.keys() > {"good", "link"}
    assert all(rle_csv.ID.fullmatch(image_id) for image_id in names)


def test_a_file_name_that_is_no_text(config):
    good = dicom_files.as_bytes(dicom_files.dataset())
    (config.test_source / "good.dcm").write_bytes(good)
    (config.test_source / os.fsdecode(b"\xff.dcm")).write_bytes(good)
    assert convert.convert(config) == ExitCode.DONE
    (other,) = stored_ids(config) - {"good"}
    assert rle_csv.ID.fullmatch(other)
    rows = (config.output / side_tables.IDS_FILE).read_text().splitlines()
    assert rf"{other},\xff.dcm" in rows


def short_element(tag, vr, value):
    """Returns an element, explicit little endian, of a VR with a short length."""
    value += b" " * (len(value) % 2)
    return tag + vr + len(value).to_bytes(2, "little") + value


@pytest.mark.parametrize(
    ("charset", "patient"),
    [("UNICODE_ESCAPE", rb"\ud800"), ("UTF_7", b"+2AA-"), ("UTF_16", b"\0\xd8")],
)
def test_a_patient_id_that_is_no_text(config, charset, patient):
    """pydicom accepts the name of any Python codec as a character set."""
    raw = edited(
        dicom_files.native(dicom_files.picture(24)),
        SpecificCharacterSet=("CS", "ISO_IR 6"),
        PatientID=("LO", "PATIENT"),
    )
    for tag, vr, old, new in (
        (b"\x08\0\x05\0", b"CS", b"ISO_IR 6", charset.encode()),
        (b"\x10\0\x20\0", b"LO", b"PATIENT", patient),
    ):
        assert raw.count(short_element(tag, vr, old)) == 1
        raw = raw.replace(short_element(tag, vr, old), short_element(tag, vr, new))
    (config.test_source / "good.dcm").write_bytes(
        dicom_files.as_bytes(dicom_files.dataset())
    )
    (config.test_source / "odd.dcm").write_bytes(raw)
    assert convert.convert(config) == ExitCode.DONE
    assert stored_ids(config) == {"good", "odd"}
