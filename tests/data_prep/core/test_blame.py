"""A damaged file is never called our fault, nor a fault of ours a damaged file."""

import contextlib
import errno
import functools
import io
import os
import types

import numpy as np
import pytest

from data_prep.build import image_records
from data_prep.core import blame
from data_prep.core import worker_process
from data_prep.core import workers
from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from data_prep.pixels import grey
from data_prep.pixels import raster
from data_prep.source import probe
from data_prep.source.source_file import SourceFile
from tests import dicom_files

GOOD = dicom_files.as_bytes(dicom_files.dataset())


def caught(function):
    with pytest.raises(Exception, match=".*") as e:
        function()
    return e.value


def test_an_exception_of_a_library_is_the_input_s():
    errors = [
        caught(lambda: np.zeros(2).reshape(3)),
        caught(lambda: int("x")),
        # The innermost frame is this test's, which is no code of the package.
        caught(lambda: None + 1),
        OSError("image file is truncated"),
        OSError(errno.EINVAL, "seek before the start"),
    ]
    assert all(map(blame.is_of_input, errors))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ENOENT])
def test_a_fault_of_the_system_is_not_the_input_s(number):
    assert not blame.is_of_input(OSError(number, os.strerror(number)))


def raising(kind, module):
    """Returns a function that raises as if it stood in `module`."""

    def function(*_):
        raise kind("odd")

    code = function.__code__.replace(co_filename=module.__file__)
    return types.FunctionType(code, {}, closure=function.__closure__)


@pytest.mark.parametrize("kind", [TypeError, AttributeError, NameError, ImportError])
def test_wrong_code_of_ours_is_no_damage(kind, monkeypatch):
    monkeypatch.setattr(grey, "to_uint8", raising(kind, grey))
    with pytest.raises(kind):
        dicom.read_pixels(GOOD)


@pytest.mark.parametrize("kind", [ValueError, KeyError, ZeroDivisionError])
def test_a_value_that_our_code_cannot_take_may_be_damage(kind, monkeypatch):
    monkeypatch.setattr(grey, "to_uint8", raising(kind, grey))
    with pytest.raises(InputError) as e:
        dicom.read_pixels(GOOD)
    assert e.value.code == "DCM_DAMAGED"


TAGS = (
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "Rows",
    "Columns",
    "Modality",
    "PatientID",
    "BurnedInAnnotation",
    "ModalityLUTSequence",
    "VOILUTSequence",
)
VALUES = (
    ("US", None),
    ("US", 0),
    ("US", [1, 2]),
    ("DS", None),
    ("DS", ["1", "2"]),
    ("IS", ["1", "2"]),
    ("LO", "x"),
    ("FD", 1.5),
    ("UN", b"xx"),
    ("SQ", []),
    ("SQ", [dicom.pydicom.Dataset()]),
)


def odd_file(tag, vr, value):
    """Returns the bytes of a file with an odd value; b"" where none can be written."""
    data = dicom_files.native(dicom_files.picture(24))
    data.add_new("PixelPaddingValue", "US", 0)
    data.RescaleSlope, data.RescaleIntercept = "2", "1"
    data.WindowCenter, data.WindowWidth = "100", "50"
    try:
        data.add_new(tag, vr, value)
        return dicom_files.as_bytes(data)
    except (ValueError, TypeError, OSError, AttributeError):
        return b""


@pytest.mark.parametrize("tag", TAGS)
def test_odd_values_are_never_our_fault(tag, tmp_path):
    files = [data for vr, value in VALUES if (data := odd_file(tag, vr, value))]
    assert len(files) >= 5
    path = tmp_path / "a.dcm"
    for data in files:
        path.write_bytes(data)
        for read in (
            lambda: dicom.read_header(path),
            lambda data=data: dicom.read_pixels(data),
        ):
            # Anything else is raised.
            with contextlib.suppress(InputError):
                read()


LIMITS = workers.Limits(memory_bytes=256 << 20, seconds=60)


def in_worker(function, items):
    with workers.WorkerPool(function, num_workers=1, limits=LIMITS) as pool:
        return [result for _, result in pool.imap_ordered(function, items)]


def test_a_programming_error_reaches_the_command():
    """A reader that was given no bytes was called a file that crashes its decoder."""
    with pytest.raises(
        worker_process.WorkerError, match="Error in a worker process"
    ) as e:
        in_worker(raster.size_of, [5])
    assert "raster.py" in str(e.value.__cause__)


def test_a_file_that_vanishes_is_quarantined(tmp_path):
    path = tmp_path / "a.dcm"
    path.mkdir()
    gone = [tmp_path / "none.dcm", path, path / "below" / "x.dcm"]
    (tmp_path / "good.dcm").write_bytes(GOOD)
    files = [SourceFile(path=p, kind="dicom") for p in [*gone, tmp_path / "good.dcm"]]
    probes = [
        probe.Probe(file=f, mask_file=None, modalities=(), refuse_burned_in=False)
        for f in files
    ]
    results = in_worker(probe.read_header_facts, probes)
    assert [r.code for r in results[:3]] == ["SRC_GONE"] * 3
    assert results[3].num_pixels == 24 * 24
    for file in files[:3]:
        with pytest.raises(InputError) as e:
            file.read_bytes()
        assert e.value.code == "SRC_GONE"


class Failing(io.BytesIO):
    def read(self, *_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_fails_is_named_and_is_no_damage(tmp_path, monkeypatch):
    """`open` names the file in its error, `read` does not."""
    path = tmp_path / "a.dcm"
    path.write_bytes(GOOD)
    monkeypatch.setattr(type(path), "open", lambda *_, **__: Failing(GOOD))
    file = SourceFile(path=path, kind="dicom")
    asked = probe.Probe(
        file=file, mask_file=None, modalities=(), refuse_burned_in=False
    )
    for read in (file.read_bytes, functools.partial(probe.read_header_facts, asked)):
        with pytest.raises(OSError, match="Input/output error") as e:
            read()
        assert (e.value.errno, e.value.filename) == (errno.EIO, str(path))


def test_a_stale_handle_is_a_file_that_is_gone(tmp_path, monkeypatch):
    def stale(*_, **__):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    path = tmp_path / "a.dcm"
    monkeypatch.setattr(type(path), "open", stale)
    with pytest.raises(InputError) as e:
        SourceFile(path=path, kind="dicom").read_bytes()
    assert e.value.code == "SRC_GONE"


def test_memory_follows_the_pixels():
    def most(num_pixels):
        return image_records.Task(
            image_id="a",
            file=None,
            rows=None,
            mask_file=None,
            label=-1,
            fold=-1,
            group="",
            expected_sha256=None,
            num_pixels=num_pixels,
        ).most_memory()

    assert most(1024**2) < 2 << 30
    # 41 bytes a pixel are measured for 16 bits with a slope and a window.
    assert most(dicom.MAX_SIDE_PX**2) > 41 * dicom.MAX_SIDE_PX**2


@pytest.mark.parametrize("name", dicom_files.seeds(24))
def test_no_byte_of_a_header_makes_a_fault_ours(name, tmp_path):
    """A transfer syntax of two values ended the conversion of all films."""
    seed = dicom_files.seeds(24)[name]
    rng = np.random.default_rng(7)
    end = min(len(seed), max(seed.find(b"\xe0\x7f\x10\x00"), 300))
    for _ in range(300):
        data = bytearray(seed)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(128, end)] = rng.choice([0, 1, 92, 127, 128, 255])
        for read in (
            lambda data=data: dicom.read_header(io.BytesIO(bytes(data))),
            lambda data=data: dicom.read_pixels(bytes(data)),
        ):
            # Anything else is raised.
            with contextlib.suppress(InputError):
                read()


def test_several_transfer_syntaxes_are_the_files_fault():
    seed = dicom_files.seeds(24)["native8"]
    place = seed.index(b"1.2.840.10008.1.2.1")
    data = seed[: place + 5] + b"\\" + seed[place + 6 :]
    for read in (dicom.read_pixels, lambda d: dicom.read_header(io.BytesIO(d))):
        with pytest.raises(InputError, match="no one transfer syntax"):
            read(data)
