"""A segmentation of each DICOM film, which names it and has the csv's mask."""

import gzip
import logging
import sys
import warnings
import zipfile

import numpy as np
import pytest

from data_prep.build import publishing
from data_prep.core import durable
from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from data_prep.pixels import dicom
from inference.prediction import dicom_seg
from inference.prediction import film_segmentation
from inference.prediction import images_csv
from inference.prediction import predict
from inference.prediction import segmentation_files
from inference.prediction import submission
from inference.prediction.dicom_seg import Maker
from inference.prediction.images_csv import ImageRow
from tests import dicom_files
from tests.data_prep.build import films as build_films
from tests.inference.prediction.test_predict import config

pydicom = dicom.pydicom
SIDE = 24
REQUEST = {"members": ["ab" * 32], "classifiers": ["cd" * 32], "postprocess": "x(1)"}
MASK = rle.encode(np.eye(SIDE, dtype=np.uint8))


@pytest.fixture(autouse=True)
def highdicom():
    pytest.importorskip("highdicom")


def film(name="a", **elements):
    """Returns a film as the competition's are, with a spacing and without a depth."""
    data = dicom_files.dataset(SIDE)
    data.PixelSpacing = [0.143, 0.143]
    data.SOPInstanceUID = f"2.25.{sum(name.encode())}"
    data.PatientName = "Secret^Patient"
    for key, value in elements.items():
        if value is None:
            delattr(data, key)
        else:
            setattr(data, key, value)
    return data


@pytest.fixture
def asked(tmp_path):
    """Returns what finishes a prediction of {file name: bytes}, as the job does."""

    def finish(films, masks, **changes):
        source, output = tmp_path / "films", tmp_path / "out"
        source.mkdir()
        for name, data in films.items():
            (source / name).write_bytes(data)
        job = config(
            tmp_path,
            [tmp_path / "run"],
            output,
            data=(),
            source=source,
            outputs=("csv", "dicom_seg"),
            **changes,
        )
        hashes = {
            image_id: file.sha256()
            for image_id, file in segmentation_files._sources(job).items()
        }
        publishing._write_table(
            output / "dataset" / publishing.SOURCES_FILE,
            ("ImageId", "sha256"),
            hashes.items(),
        )
        durable.write_json(output / "request.json", REQUEST)
        submission.write(output / "submission.csv", masks.items())
        with images_csv.writing(output / "images.csv") as add:
            for image_id in masks:
                add(ImageRow(image_id=image_id, warnings=("unlike",)))
        return job

    return finish


def written(job):
    with pytest.MonkeyPatch.context() as patch:
        # Without processes, which would take longer than the films.
        patch.setattr(workers, "WorkerPool", build_films.InProcess)
        segmentation_files.write(job)
    return {p.stem: p.read_bytes() for p in (job.output / "dicom_seg").glob("*")}


def codes(job):
    table = images_csv.read(job.output / "images.csv")
    return {i: [w for w in row.warnings if w != "unlike"] for i, row in table.items()}


def test_pixels_references_and_words(asked):
    import highdicom

    data = film(FrameOfReferenceUID="2.25.77", StudyInstanceUID="2.25.78")
    films = {"a.dcm": dicom_files.as_bytes(data)}
    masks = {"a": MASK}
    job = asked(films, masks)
    written(job)
    path = job.output / "dicom_seg" / "a.dcm"
    seg = highdicom.seg.segread(path)
    mask = rle.decode(MASK, SIDE, SIDE)
    assert seg.SourceImageSequence[0].ReferencedSOPInstanceUID == data.SOPInstanceUID
    frames = seg.get_pixels_by_source_instance([data.SOPInstanceUID])
    np.testing.assert_array_equal(frames[0, ..., 0], mask)
    plain = pydicom.dcmread(path)
    np.testing.assert_array_equal(plain.pixel_array, mask)
    assert plain.SOPClassUID == pydicom.uid.SegmentationStorage
    assert plain.StudyInstanceUID == "2.25.78"
    assert plain.FrameOfReferenceUID == "2.25.77"
    assert str(plain.PatientName) == "Secret^Patient"
    [series] = plain.ReferencedSeriesSequence
    [instance] = series.ReferencedInstanceSequence
    assert series.SeriesInstanceUID == data.SeriesInstanceUID
    assert plain.SeriesInstanceUID != data.SeriesInstanceUID
    assert instance.ReferencedSOPInstanceUID == data.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == data.SOPClassUID
    [segment] = plain.SegmentSequence
    [kind] = segment.SegmentedPropertyTypeCodeSequence
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("36118008", "SCT")
    assert segment.SegmentLabel == kind.CodeMeaning == "Pneumothorax"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    [algorithm] = segment.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "pneumothorax-seg-tf"
    assert "members " in algorithm.AlgorithmVersion
    assert "members=abababababab cdcdcdcdcdcd" in algorithm.AlgorithmParameters
    assert codes(job) == {"a": []}


def test_repeats_give_the_same_bytes_and_keep_files(asked, monkeypatch):
    films = {f"{k}.dcm": dicom_files.as_bytes(film(k)) for k in "ab"}
    job = asked(films, {"a": MASK, "b": rle.EMPTY})
    first = written(job)
    assert first.keys() == {"a", "b"}
    path = job.output / "dicom_seg" / "a.dcm"
    before = path.stat().st_mtime_ns
    # One was cut, as by a disk, and one is kept.
    (job.output / "dicom_seg" / "b.dcm").write_bytes(first["b"][:-40])
    assert written(job) == first
    assert path.stat().st_mtime_ns == before
    path.unlink()
    assert written(job) == first
    # What another prediction has left is none of this one.
    durable.write_json(job.output / "request.json", REQUEST | {"postprocess": "y(1)"})
    other = written(job)
    assert all(other[k] != first[k] for k in "ab")


def test_an_empty_mask_says_that_the_film_was_looked_at(asked):
    job = asked({"a.dcm": dicom_files.as_bytes(film())}, {"a": rle.EMPTY})
    written(job)
    read = pydicom.dcmread(job.output / "dicom_seg" / "a.dcm")
    assert read.NumberOfFrames == 1
    assert read.pixel_array.shape == (SIDE, SIDE)
    assert not read.pixel_array.any()


def test_two_films_with_one_uid_keep_a_file_each(asked):
    data = dicom_files.as_bytes(film())
    job = asked({"a.dcm": data, "b.dcm": data}, {"a": MASK, "b": MASK})
    files = written(job)
    uids = {dicom.read_reference(data).SOPInstanceUID for data in files.values()}
    assert files.keys() == {"a", "b"}
    assert len(uids) == 2


def test_films_in_gzip_and_zip_and_by_their_uids(asked, tmp_path):
    data = dicom_files.as_bytes(film("b"))
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("deep/c", dicom_files.as_bytes(film("c")))
    films = {"b.dcm.gz": gzip.compress(data), "z.zip": (tmp_path / "z").read_bytes()}
    masks = {"2.25.98": MASK, "2.25.99": rle.EMPTY}
    job = asked(films, masks, id_from="sop_instance_uid")
    assert written(job).keys() == masks.keys()
    assert codes(job) == {"2.25.98": [], "2.25.99": []}


def test_films_without_a_segmentation_are_told(asked, caplog):
    reference = {"SOPInstanceUID": None, "StudyInstanceUID": "no uid"}
    films = {
        f"lacks{k}": film(**{name: value})
        for k, (name, value) in enumerate(reference.items())
    }
    films |= {"many": film(NumberOfFrames=2), "class": film(SOPClassUID="1.2.3")}
    films |= {"good": film(), "changed": film(), "gone": film()}
    files = {f"{k}.dcm": dicom_files.as_bytes(v) for k, v in films.items()}
    files["png.png"] = dicom_files.compressed(dicom_files.picture(SIDE), format="PNG")
    names = [name.partition(".")[0] for name in files]
    job = asked(files, dict.fromkeys(names, MASK))
    path = job.source / "changed.dcm"
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert path.read_bytes() != files["changed.dcm"]
    (job.source / "gone.dcm").unlink()
    # Of an earlier film of the name.
    former = job.output / "dicom_seg" / "png.dcm"
    durable.write_bytes(former, b"of another film")
    with caplog.at_level(logging.DEBUG):
        assert written(job).keys() == {"good"}
    expected = {
        "lacks0": ["seg_no_reference"],
        "lacks1": ["seg_no_reference"],
        "many": ["seg_multiframe"],
        "class": ["seg_refused"],
        "changed": ["seg_source_changed"],
        "gone": ["seg_source_changed"],
        "png": ["seg_not_dicom"],
        "good": [],
    }
    assert codes(job) == expected
    assert "1 of 8 films have a DICOM segmentation" in caplog.text
    assert "seg_no_reference: 2 film(s), the first is lacks0: " in caplog.text
    assert "Secret" not in caplog.text
    # The file is there again, and the code goes.
    (job.source / "gone.dcm").write_bytes(files["gone.dcm"])
    assert written(job).keys() == {"good", "gone"}
    assert codes(job) == expected | {"gone": []}


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientSex": "female"},
        {"PatientBirthDate": "yesterday", "StudyDate": "20231399"},
        {"StudyTime": "25:00", "ContentDate": "20230101", "ContentTime": "9999"},
        {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"},
        {"PatientName": "山田^太郎", "SpecificCharacterSet": "ISO_IR 192"},
        {"PatientName": "x" * 500, "PatientID": "y" * 500, "Modality": "c r"},
        {"PatientName": "one", "PatientID": "", "AccessionNumber": "z" * 99},
        {"SpecificCharacterSet": "nonsense", "StudyID": "a\nb"},
        {"FrameOfReferenceUID": "nobody"},
        {"PatientName": None, "PatientID": None, "StudyDate": None},
        {"PixelSpacing": ["0", "0"]},
        {"PatientID": ["two", "ids"]},
        {"PatientID": "padded\0", "AccessionNumber": "\x1bX"},
    ],
    ids=lambda elements: "-".join(elements),
)
def test_odd_headers_do_not_stop_it(tmp_path, elements, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = dicom_files.as_bytes(film(**elements))
    source = dicom.read_reference(data)
    path, mask = tmp_path / "a.dcm", rle.decode(MASK, SIDE, SIDE)
    maker = Maker(request="1" * 64, members=("2" * 64,), postprocess="x(1)")
    with caplog.at_level(logging.DEBUG):
        dicom_seg.write(path, source, mask, maker, "2.25.1234")
    assert caplog.text == ""
    read = pydicom.dcmread(path)
    if "ISO" in elements.get("SpecificCharacterSet", ""):
        assert str(read.PatientName) == elements["PatientName"]
    assert read.PatientID in ("a-patient", "padded", "", None)
    assert read.AccessionNumber in ("", None)
    assert read.ContentDate in ("20230101", "19010101", "19000101")


def test_what_does_not_read_back_is_refused(tmp_path, monkeypatch):
    source = dicom.read_reference(dicom_files.as_bytes(film()))
    maker = Maker(request="1" * 64, members=("2" * 64,), postprocess="x(1)")
    mask = rle.decode(MASK, SIDE, SIDE)
    made = dicom_seg._made
    monkeypatch.setattr(
        dicom_seg,
        "_made",
        lambda library, source, mask, *more: made(library, source, 1 - mask, *more),
    )
    with pytest.raises(dicom_seg.UnwritableError, match="reads other pixels"):
        dicom_seg.write(tmp_path / "a.dcm", source, mask, maker, "2.25.1234")
    # The trap of highdicom 0.28.2, without what avoids it.
    monkeypatch.setattr(dicom_seg, "_made", made)
    source.PixelSpacing = [0.143, 0.143]
    with pytest.raises(dicom_seg.UnwritableError, match="AttributeError"):
        dicom_seg.write(tmp_path / "a.dcm", source, mask, maker, "2.25.1234")


def test_a_mask_of_another_film_is_our_own_fault(asked):
    job = asked({"a.dcm": dicom_files.as_bytes(film())}, {"a": "0 9999"})
    with pytest.raises(ValueError, match="Expected a mask of a. Received: "):
        film_segmentation.write(
            segmentation_files._maker(job.output),
            *segmentation_files._films(job, {"a": "0 9999"}),
        )


def test_without_highdicom_nothing_is_predicted(tmp_path, monkeypatch):
    job = config(
        tmp_path,
        [tmp_path / "run"],
        tmp_path / "out",
        data=(),
        source=tmp_path / "films",
        outputs=("csv", "dicom_seg"),
    )
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(
        CommandError, match="is not installed; pip install .*dicom"
    ) as e:
        predict.predict(job)
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert not job.output.exists()


def test_needs_the_source(tmp_path):
    with pytest.raises(ConfigError, match="Expected --source, whose DICOM files"):
        config(tmp_path, [tmp_path], tmp_path / "out", outputs=("csv", "dicom_seg"))
