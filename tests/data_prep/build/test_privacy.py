"""No value of a DICOM file and no path of its owner gets into any output."""

import base64
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from data_prep.build import publishing
from data_prep.build import side_tables
from data_prep.dataset import rle
from data_prep.source import quarantine
from tests import dicom_files

ROOT = pathlib.Path(__file__).parents[3]
pydicom = dicom_files.pydicom
# The first is in every value; the second is in the names of the source's folders.
CANARY = "ZKANARIEZ"
PATH_CANARY = "ZHEIMATZ"
DATES = ("18931104", "235958.731", "0997Y", "-7391.46")
CANARIES = (
    CANARY.encode(),
    CANARY.encode("utf-16-le"),
    CANARY.encode().hex().encode(),
    base64.b64encode(CANARY.encode()).rstrip(b"=")[:-1],
    *(date.encode() for date in DATES),
)
# Prefixes of the keywords of tags about people, places and times.
PERSONAL = (
    "Accession",
    "Acquisition",
    "Additional",
    "Admi",
    "Allerg",
    "Content",
    "Country",
    "Current",
    "Device",
    "Ethnic",
    "Image",
    "Institution",
    "Instance",
    "Issue",
    "Manufacturer",
    "Medical",
    "Military",
    "Names",
    "Occupation",
    "Operator",
    "Other",
    "Patient",
    "Perform",
    "Person",
    "Physician",
    "Pregnancy",
    "Protocol",
    "Reason",
    "Referring",
    "Region",
    "Request",
    "Responsible",
    "Scheduled",
    "Series",
    "Smoking",
    "Special",
    "Station",
    "Study",
    "Verifying",
)
LONG = ("OB", "OW", "SQ", "UC", "UN", "UR", "UT")
KNOWN_VALUES = {"DA": DATES[0], "TM": DATES[1], "AS": DATES[2], "DS": DATES[3]}


def element(tag, vr, value):
    """Returns the bytes of one element with explicit VR, unchecked."""
    value += b"\0" * (len(value) % 2)
    start = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    if vr in LONG:
        return start + vr.encode() + b"\0\0" + len(value).to_bytes(4, "little") + value
    return start + vr.encode() + len(value).to_bytes(2, "little") + value


def personal_tags():
    """Returns [(tag, VR)] of the dictionary's tags with text about a person."""
    texts = ("AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST")
    return [
        (tag, entry[0])
        for tag, entry in pydicom.datadict.DicomDictionary.items()
        if entry[4].startswith(PERSONAL)
        and entry[0] in (*texts, "TM", "UC", "UI", "UR", "UT")
        and tag >> 16 not in (0x0028, 0x7FE0)
    ]


def personal_elements():
    """Returns every such tag, with a value that fits its VR or one that does not."""
    elements = []
    for k, (tag, vr) in enumerate(sorted(personal_tags())):
        value = f"{CANARY}^{k:03d}"
        # The other dates, times, ages and numbers are invalid.
        if vr in KNOWN_VALUES and k % 2:
            value = KNOWN_VALUES[vr]
        elements.append(element(tag, vr, value.encode()))
    inner = element(0x00100020, "LO", CANARY.encode())
    item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    return b"".join(
        [
            *elements,
            element(0x00101002, "SQ", item),
            element(0x00090010, "LO", f"{CANARY} GROUP".encode()),
            element(0x00091001, "UN", CANARY.encode()),
            element(0x00091002, "UT", CANARY.encode("utf-16-le")),
            element(0x00110010, "UN", CANARY.encode()),
            element(0x00104000, "UN", CANARY.encode()),
            element(0x00102160, "ZK", CANARY.encode()),
        ]
    )


def file_of(index, *extra, **fields):
    """Returns a file with its own picture, and a canary wherever one fits."""
    stream = dicom_files.compressed(
        np.roll(dicom_files.picture(64), 7 * index, axis=1),
        format="JPEG",
        comment=CANARY.encode(),
    )
    data = dicom_files.framed(stream, side=64)
    for name in ("PatientName", "PatientID", "StudyDate", "SeriesDescription"):
        delattr(data, name)
    for name, value in fields.items():
        setattr(data, name, value)
    data.file_meta.SourceApplicationEntityTitle = CANARY
    data.file_meta.ImplementationVersionName = CANARY
    data.file_meta.PrivateInformationCreatorUID = f"1.2.{CANARY}"
    data.file_meta.PrivateInformation = CANARY.encode()
    data.preamble = CANARY.encode().ljust(128, b"\0")
    data = dicom_files.as_bytes(data)
    place = data.index(b"\x28\x00\x02\x00US")
    patient = element(0x00100020, "LO", f"{CANARY}-p{index}".encode())
    return data[:place] + personal_elements() + patient + b"".join(extra) + data[place:]


def without(data, start):
    """Removes one element."""
    place = data.index(start)
    length = int.from_bytes(data[place + 6 : place + 8], "little")
    return data[:place] + data[place + 8 + length :]


def source_files():
    """Returns {image id: (bytes, expected quarantine code)}."""
    canary = CANARY.encode()
    files = {f"good{k}": (file_of(k), None) for k in range(6)}
    sound = file_of(6)
    window = [element(0x00281050, "DS", canary), element(0x00281051, "DS", canary)]
    no_rows = without(sound, b"\x28\x00\x10\x00US")
    rows = no_rows.index(b"\x28\x00\x11\x00US")
    bad_stream = bytearray(sound)
    bad_stream[sound.index(b"\xff\xc0") + 4] = 77
    files |= {
        "cut_header": (sound[:900], "DCM_BAD_GEOMETRY"),
        "cut_pixels": (sound[:-500], "DCM_TRUNCATED"),
        "stream": (bytes(bad_stream), "DCM_NO_DECODER"),
        "text": (canary * 99, "DCM_NOT_DICOM"),
        "frames": (file_of(10, element(0x00280008, "IS", canary)), None),
        "slope": (file_of(7, element(0x00281053, "DS", canary)), "DCM_BAD_RESCALE"),
        "window": (file_of(11, *window), None),
        "padding": (file_of(12, element(0x00280120, "LO", canary)), None),
        "colour": (file_of(7, PhotometricInterpretation=CANARY), "DCM_COLOUR"),
        "modality": (file_of(7, Modality=CANARY), "DCM_NOT_CXR"),
        "rows": (
            no_rows[:rows] + element(0x00280010, "LO", canary) + no_rows[rows:],
            "DCM_BAD_GEOMETRY",
        ),
        "charset": (file_of(8, element(0x00080005, "CS", canary)), None),
        "patient_as_un": (file_of(9, element(0x00100020, "UN", canary)), None),
    }
    return files


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """Makes a source folder inside a home folder; returns the source's parent."""
    home = tmp_path_factory.mktemp(PATH_CANARY) / f"{PATH_CANARY}-{CANARY}"
    train = home / "train"
    train.mkdir(parents=True)
    mask = np.zeros((64, 64), np.uint8)
    mask[9:30, 9:30] = 1
    lines, patients = [], []
    for k, (image_id, (data, _)) in enumerate(source_files().items()):
        (train / f"{image_id}.dcm").write_bytes(data)
        lines.append(f"{image_id},{rle.encode(mask) if k % 2 else '-1'}")
        patients.append(f"{image_id},{CANARY}-{k // 2}")
    (home / "rle.csv").write_text("\n".join(lines))
    (home / "patients.csv").write_text("\n".join(patients))
    return home


def run(home, output, *flags, **environment):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "data_prep.main",
            f"--source={home / 'train'}",
            f"--rle_csv={home / 'rle.csv'}",
            f"--output={output}",
            "--sizes=32",
            "--num_folds=2",
            "--max_bad_fraction=1",
            "--modalities=CR",
            "--num_workers=2",
            *flags,
        ],
        cwd=ROOT,
        capture_output=True,
        env=os.environ | environment,
    )


def check_no_canary(done, output):
    texts = {"stdout": done.stdout, "stderr": done.stderr}
    for path in output.rglob("*"):
        texts[str(path.relative_to(output))] = os.fsencode(path.name)
        if path.is_file():
            texts[str(path.relative_to(output))] += path.read_bytes()
    for where, data in texts.items():
        for canary in (*CANARIES, PATH_CANARY.encode()):
            assert canary.lower() not in data.lower(), (where, canary)


def test_the_canaries_are_there():
    assert len(personal_tags()) >= 60
    for vr in ("DA", "TM", "AS", "DS", "IS", "UI", "PN", "LO", "ST", "UT"):
        assert any(found == vr for _, found in personal_tags()), vr
    data, _ = source_files()["good0"]
    assert data.count(CANARY.encode()) > 100
    assert all(date.encode() in data for date in DATES)
    read = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    assert read.PatientID == f"{CANARY}-p0"
    assert sum(tag.is_private for tag in read._dict) >= 4
    for image_id, (data, _) in source_files().items():
        assert CANARY.encode() in data, image_id


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ([], 3),
        (["--pixel_encoding=png", f"--group_salt={CANARY}"], 3),
        (["--group_csv={home}/patients.csv", "--voi=percentile"], 3),
        (["--max_bad_fraction=0.1"], 4),
        (["--dry_run"], 3),
        (["--dry_run", "--max_bad_fraction=0"], 4),
    ],
    ids=str,
)
def test_no_canary_in_what_is_written_or_said(private, tmp_path, flags, code):
    output = tmp_path / "out"
    done = run(private, output, *[flag.format(home=private) for flag in flags])
    assert done.returncode == code, done.stderr
    check_no_canary(done, output)
    # The log does mention the files; an empty log would prove nothing.
    assert b"DCM_NOT_CXR" in done.stderr
    if "--dry_run" in flags:
        assert not output.exists()
    elif code == 3:
        check_all_was_read(output)
    else:
        codes = {row[1] for row in quarantine.read(output)}
        assert {"DCM_NOT_DICOM", "DCM_NOT_CXR"} <= codes


def check_all_was_read(output):
    """Every bad file is quarantined with its code, and every good one is stored."""
    bad = {i: code for i, (_, code) in source_files().items() if code}
    code_of = {row[0]: row[1] for row in quarantine.read(output)}
    assert code_of == {f"train/{i}.dcm": code for i, code in bad.items()}
    stored = (output / publishing.SOURCES_FILE).read_text()
    assert all(f"{i}," in stored for i in source_files().keys() - bad.keys())


def test_native_libraries_say_nothing(private, tmp_path, tfio):
    """tensorflow-io's DCMTK writes values to file descriptor 2."""
    test = tmp_path / "test"
    test.mkdir()
    plain = dicom_files.dataset(64)
    plain.PatientID = CANARY
    (test / "plain.dcm").write_bytes(dicom_files.as_bytes(plain))
    output = tmp_path / "out"
    flags = (f"--test_source={test}", "--dicom_decoder=tfio", "--num_workers=1")
    done = run(private, output, *flags)
    assert done.returncode == 3, done.stderr
    check_no_canary(done, output)
    # DCMTK's warnings and errors, each on a line of its own.
    lines = (done.stdout + done.stderr).splitlines()
    assert not [line for line in lines if line.startswith((b"W: ", b"E: "))]
    # It got every file that pydicom can read, and accepts only the plain one.
    assert {row[0]: row[1] for row in quarantine.read(output)} == {
        f"train/{i}.dcm": code or "DCM_TFIO" for i, (_, code) in source_files().items()
    }
    stored = (output / publishing.SOURCES_FILE).read_text().splitlines()
    assert [line.split(",")[0] for line in stored[1:]] == ["plain"]


def test_a_transfer_syntax_is_a_value_too(private, tmp_path):
    test = tmp_path / "test"
    test.mkdir()
    data = file_of(1).replace(
        b"1.2.840.10008.1.2.4.50", f"1.2.{CANARY}".encode().ljust(22, b"\0")
    )
    assert f"1.2.{CANARY}".encode() in data
    (test / "syntax.dcm").write_bytes(data)
    output = tmp_path / "out"
    done = run(private, output, f"--test_source={test}")
    assert done.returncode == 3, done.stderr
    codes = {row[0]: row[1] for row in quarantine.read(output)}
    assert codes["test/syntax.dcm"] == "DCM_NO_DECODER"
    check_no_canary(done, output)


def test_a_label_without_an_image(private, tmp_path):
    """The csv and its folder stay private, whether all images are required or not."""
    output = tmp_path / "out"
    rle_csv = private / "more.csv"
    text = (private / "rle.csv").read_text()
    rle_csv.write_text(f"{text}\nmissing,-1\nodd,5\n")
    done = run(private, output, f"--rle_csv={rle_csv}")
    assert done.returncode == 3, done.stderr
    assert b"3 labels of more.csv" in done.stderr
    lines = (output / side_tables.WITHOUT_IMAGE_FILE).read_text().splitlines()
    assert {"missing", "odd"} <= set(lines)
    check_no_canary(done, output)
    strict = tmp_path / "strict"
    done = run(private, strict, f"--rle_csv={rle_csv}", "--require_all_images")
    assert done.returncode == 3, done.stderr
    codes = [row[1] for row in quarantine.read(strict)]
    assert {"IMAGE_MISSING", "RLE_ODD"} <= set(codes)
    check_no_canary(done, strict)
