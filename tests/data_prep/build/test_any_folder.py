"""Folders as people have them: each film is converted, and each file accounted for."""

import csv
import gzip
import hashlib
import logging
import re

import pytest

from data_prep.build import convert
from data_prep.build import image_records
from data_prep.config import ConvertConfig
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.pixels.notices import Notices
from data_prep.source import image_files
from data_prep.source import probe
from data_prep.source import quarantine
from data_prep.source.quarantine import Quarantine
from tests import odd_files

FILMS = {f"f{k}": odd_files.dicom(k) for k in range(8)}


@pytest.fixture
def config(tmp_path):
    source = tmp_path / "films"
    source.mkdir()
    return ConvertConfig(
        source=None,
        test_source=source,
        output=tmp_path / "out",
        sizes=(32,),
        max_bad_fraction=1.0,
        num_workers=2,
    )


def converted(config) -> tuple[dict[str, str], list[str]]:
    """Converts every film; returns {image id: sha256} and what is quarantined."""
    bad = Quarantine(config.test_source)
    sources = {}
    for image_id, file in image_files.find(config.test_source, bad).items():
        asked = probe.Probe(
            file=file, mask_file=None, modalities=(), refuse_burned_in=False
        )
        task = image_records.Task(
            image_id=image_id,
            file=file,
            rows=None,
            mask_file=None,
            label=-1,
            fold=-1,
            group="g",
            expected_sha256=None,
        )
        try:
            probe.read_header_facts(asked)
            record = image_records.convert(image_records.pixels_of(config), task)
            sources[image_id] = record.source_sha256
        except InputError as e:
            bad.add(file.shown, e)
    return sources, [row[:2] for row in bad.rows()]


def half(write_one):
    """Returns a layout with half of the films as they were, half of them changed."""

    def write(folder):
        for k, (name, data) in enumerate(FILMS.items()):
            if k % 2:
                (folder / f"{name}.dcm").write_bytes(data)
            else:
                write_one(folder, name, data)

    return write


def in_a_linked_folder(folder, name, data):
    store = folder.parent / "store"
    if not store.exists():
        store.mkdir()
        (folder / "more").symlink_to(store)
    (store / f"{name}.dcm").write_bytes(data)


def linked(folder, name, data):
    store = folder.parent / "annex" / hashlib.sha256(data).hexdigest()
    store.parent.mkdir(exist_ok=True)
    store.write_bytes(data)
    (folder / f"{name}.dcm").symlink_to(store)


def zip_of_half(folder):
    names = list(FILMS)
    members = {f"in/{name}.dcm": FILMS[name] for name in names[:4]}
    (folder / "films.zip").write_bytes(odd_files.zipped(members))
    for name in names[4:]:
        (folder / f"{name}.dcm").write_bytes(FILMS[name])


def with_apple_doubles(folder):
    for name, data in FILMS.items():
        (folder / f"{name}.dcm").write_bytes(data)
        (folder / f"._{name}.dcm").write_bytes(odd_files.OTHERS["apple"][0])
    (folder / ".DS_Store").touch()


LAYOUTS = {
    "without suffix": half(lambda d, name, data: (d / name).write_bytes(data)),
    "named dicom": half(lambda d, name, data: (d / f"{name}.dicom").write_bytes(data)),
    "upper case": half(lambda d, name, data: (d / f"{name}.DCM").write_bytes(data)),
    "gzipped": half(
        lambda d, name, data: (d / f"{name}.dcm.gz").write_bytes(gzip.compress(data))
    ),
    "in a linked folder": half(in_a_linked_folder),
    "linked one by one": half(linked),
    "zipped": zip_of_half,
    "from a Mac": with_apple_doubles,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_loses_a_film(config, layout):
    LAYOUTS[layout](config.test_source)
    hashes = {k: hashlib.sha256(data).hexdigest() for k, data in FILMS.items()}
    assert converted(config) == (hashes, [])


def test_a_film_in_any_wrapping_has_the_same_record(config):
    """What is compressed or lacks a preamble is read, not only found."""
    for kind, data in odd_files.IMAGES.items():
        (config.test_source / kind.replace(" ", "_")).write_bytes(data)
    sources, bad = converted(config)
    assert not bad
    assert sources["dicom"] == sources["gzipped_dicom"]
    assert sources["png"] == sources["gzipped_png"]
    pixels = image_records.pixels_of(config)
    images = {
        image_id: image_records.read_image(
            file.read_bytes(), file.kind, pixels, Notices()
        )
        for image_id, file in image_files.find(
            config.test_source, Quarantine(), quiet=True
        ).items()
    }
    for image_id in ("bare", "bare_with_meta", "bare_implicit", "gzipped_dicom"):
        assert (images[image_id] == images["dicom"]).all(), image_id


def test_a_preview_is_a_film_too_and_takes_no_others_place(config):
    for name, data in FILMS.items():
        (config.test_source / f"{name}.dicom").write_bytes(data)
    (config.test_source / "preview.jpg").write_bytes(odd_files.jpeg(9))
    sources, bad = converted(config)
    assert sorted(sources) == [*sorted(FILMS), "preview"]
    assert not bad


def test_a_pacs_export(config):
    (config.test_source / "DICOM").mkdir()
    for k, data in enumerate(FILMS.values()):
        (config.test_source / "DICOM" / f"IM{k:06}").write_bytes(data)
    (config.test_source / "DICOMDIR").write_bytes(odd_files.dicomdir())
    sources, bad = converted(config)
    assert sorted(sources) == [f"IM{k:06}" for k in range(8)]
    assert not bad


@pytest.mark.slow
def test_every_kind_in_one_folder_adds_up(config, caplog):
    num_files = odd_files.every_kind(config.test_source)
    with caplog.at_level(logging.INFO):
        assert convert.convert(config) == ExitCode.QUARANTINED
    with (config.output / "sources.csv").open() as file:
        num_converted = len(list(csv.DictReader(file)))
    rows = quarantine.read(config.output)
    (left_out,) = [m for m in caplog.messages if "left out" in m]
    num_left_out = sum(map(int, re.findall(r"(\d+) [\w. ]+ \(first", left_out)))
    (equal,) = [m for m in caplog.messages if "equal another" in m]
    assert re.search(r": (\d+) files equal", equal).group(1) == "1"
    # Another film has the id of one of them; one is in the zip, and one is linked.
    # Three films have names that are no ids and get others.
    num_images = odd_files.NUM_FILMS + len(odd_files.IMAGES)
    assert num_converted == num_images - 1 - 1 + 2 + 3
    assert num_left_out == len(odd_files.OTHERS) + 3
    assert num_converted + len(rows) + num_left_out + 1 == num_files
    codes = {path: code for path, code, *_ in rows}
    assert codes["films/cut.dcm"].startswith("DCM_")
    assert codes["films/films.zip/nested.zip"] == "ARCHIVE_NESTED"
    assert codes["films/others/image1.dcm"] == "DUP_ID_CONFLICT"
    (loops,) = [m for m in caplog.messages if "reached before" in m]
    assert "2 links" in loops
    # The same command again, with nothing left to do, tells the same reasons.
    assert convert.convert(config) == ExitCode.QUARANTINED
    assert quarantine.read(config.output) == rows
