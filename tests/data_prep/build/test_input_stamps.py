import logging
import os
import shutil

import cv2
import numpy as np
import pytest

from data_prep.build import convert
from data_prep.build import image_records
from data_prep.build import input_stamps
from data_prep.build import shard_writing
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset.reading import DatasetReader
from data_prep.source import quarantine
from tests.data_prep.build import films

NAMES = {f"film{k}.png": k for k in range(8)}


@pytest.fixture
def config(tmp_path):
    films.write(tmp_path / "films", NAMES)
    for name, seed in NAMES.items():
        write_mask(tmp_path / "masks" / name, seed)
    return films.config(
        tmp_path,
        rle_csv=None,
        mask_source=tmp_path / "masks",
        records_per_shard=1,
    )


def write_mask(path, seed, *, left=20):
    path.parent.mkdir(exist_ok=True)
    mask = np.zeros((films.SIDE, films.SIDE), np.uint8)
    mask[20:40, left : left + 20] = 255 * (seed % 2)
    assert cv2.imwrite(str(path), mask)


def other_times(folder):
    for path in folder.rglob("*.png"):
        os.utime(path, ns=(10**18, 10**18))


def pixels(config):
    return {r.image_id: r.pixels for r in DatasetReader(config.output / "32").records()}


def test_a_replaced_film_is_no_complete_output(config, monkeypatch, caplog):
    films.run(monkeypatch, config)
    path = config.source / "film3.png"
    before = path.stat()
    assert cv2.imwrite(str(path), films.film(99))
    assert path.stat().st_size != before.st_size
    caplog.set_level(logging.INFO)
    with pytest.raises(CommandError, match="1 input.* first is source/film3") as e:
        films.run(monkeypatch, config)
    assert e.value.exit_code == ExitCode.CONFLICT
    assert "already complete" not in caplog.text


def test_a_film_of_the_same_size_is_noticed_by_its_time(config, monkeypatch):
    films.run(monkeypatch, config)
    path = config.source / "film3.png"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    other_times(config.source)
    with pytest.raises(CommandError, match="1 input"):
        films.run(monkeypatch, config)


@pytest.mark.parametrize("name", ["film3.png", "film2.png"])
def test_a_replaced_mask_is_noticed(config, monkeypatch, name):
    films.run(monkeypatch, config)
    write_mask(config.mask_source / name, 1, left=30)
    with pytest.raises(CommandError, match=f"first is mask_source/{name[:5]}"):
        films.run(monkeypatch, config)


def test_a_mended_input_is_noticed(config, monkeypatch):
    path = config.source / "film3.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    config = films.replaced(config, max_bad_fraction=0.2)
    assert films.run(monkeypatch, config) == ExitCode.QUARANTINED
    assert films.run(monkeypatch, config) == ExitCode.QUARANTINED
    other_times(config.source)
    assert films.run(monkeypatch, config) == ExitCode.QUARANTINED
    assert len(quarantine.read(config.output)) == 1
    path.write_bytes(whole)
    with pytest.raises(CommandError, match="first is source/film3"):
        films.run(monkeypatch, config)


def test_a_copy_of_the_source_is_the_same(config, monkeypatch, tmp_path, caplog):
    films.run(monkeypatch, config)
    copy = tmp_path / "copy"
    shutil.copytree(config.source, copy / "films", copy_function=shutil.copyfile)
    shutil.copytree(config.mask_source, copy / "masks", copy_function=shutil.copyfile)
    other_times(copy)
    moved = films.replaced(config, source=copy / "films", mask_source=copy / "masks")
    monkeypatch.setattr(convert, "_build", None)
    caplog.set_level(logging.INFO)
    assert films.run(monkeypatch, moved) == ExitCode.DONE
    assert "16 inputs have other times than before and the same bytes" in caplog.text
    assert "already complete" in caplog.text
    # The new times are kept, so that nothing is read the next time.
    monkeypatch.setattr(input_stamps, "replaced", None)
    assert films.run(monkeypatch, moved) == ExitCode.DONE


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_size_is_added_and_the_others_stay(config, monkeypatch):
    films.run(monkeypatch, config)
    before = bytes_of(config.output / "32")
    more = films.replaced(config, sizes=(32, 64))
    with monkeypatch.context() as patch:
        patch.setattr(shard_writing, "_write_shard", stop)
        with pytest.raises(KeyboardInterrupt):
            films.run(patch, more)
    assert films.run(monkeypatch, more) == ExitCode.DONE
    assert bytes_of(config.output / "32") == before
    assert (config.output / "64" / "dataset.json").exists()
    alone = films.replaced(config, sizes=(64,), output=config.output.parent / "alone")
    films.run(monkeypatch, alone)
    assert bytes_of(alone.output / "64") == bytes_of(config.output / "64")


def stop(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("sizes", [(64,), (32, 64)])
def test_a_size_of_replaced_films_is_not_added(config, monkeypatch, sizes):
    films.run(monkeypatch, config)
    before = bytes_of(config.output / "32")
    stamps = (config.output / input_stamps.FILE_NAME).read_bytes()
    path = config.source / "film3.png"
    path.write_bytes(path.read_bytes()[:500])
    more = films.replaced(config, sizes=sizes)
    with pytest.raises(CommandError, match="first is source/film3") as e:
        films.run(monkeypatch, more)
    assert e.value.exit_code == ExitCode.CONFLICT
    assert bytes_of(config.output / "32") == before
    assert (config.output / input_stamps.FILE_NAME).read_bytes() == stamps


def test_a_size_of_another_configuration_is_not_added(config, monkeypatch):
    films.run(monkeypatch, config)
    other = films.replaced(config, sizes=(64,), num_folds=3, clahe="none")
    with pytest.raises(CommandError, match="clahe: stored .* num_folds: stored"):
        films.run(monkeypatch, other)
    assert not (config.output / "64").exists()


def test_files_that_cannot_be_used_do_not_come_or_go_unnoticed(config, monkeypatch):
    films.run(monkeypatch, config)
    bad = config.source / "bad.dcm"
    bad.write_bytes(b"x")
    with pytest.raises(CommandError, match="made from other inputs"):
        films.run(monkeypatch, config)
    fresh = films.replaced(
        config, output=config.output.parent / "fresh", max_bad_fraction=0.2
    )
    assert films.run(monkeypatch, fresh) == ExitCode.QUARANTINED
    bad.unlink()
    with pytest.raises(CommandError, match="made from other inputs"):
        films.run(monkeypatch, fresh)


def test_outputs_without_stamps_say_so(config, monkeypatch, caplog):
    films.run(monkeypatch, config)
    (config.output / input_stamps.FILE_NAME).unlink()
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert "replaced films would not be noticed" in caplog.text


@pytest.fixture
def stopped(config, monkeypatch):
    """A conversion that was stopped with four of eight shards written."""
    written = []
    write_shard = shard_writing._write_shard

    def stopping(*args):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(args[1].name)
        return write_shard(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writing, "_write_shard", stopping)
        with pytest.raises(KeyboardInterrupt):
            films.run(monkeypatch, config)
    return config


@pytest.fixture
def rewritten(monkeypatch):
    """The ids of the images that are written from now on."""
    ids = []
    write_shard = shard_writing._write_shard

    def counting(*args):
        ids.extend(task.image_id for task in args[1].tasks)
        return write_shard(*args)

    monkeypatch.setattr(shard_writing, "_write_shard", counting)
    return ids


def finished_id(config, *, label):
    """Returns an image whose shard is finished."""
    for path in sorted((config.output / ".work").glob("*tfrecord*.json")):
        image_id = next(iter(durable.read_json(path, fix="")["sources"]))
        if int(image_id[-1]) % 2 == label:
            return image_id
    raise AssertionError("no such shard is finished")


def test_a_stopped_conversion_notices_a_replaced_film(
    stopped, rewritten, monkeypatch, caplog
):
    image_id = finished_id(stopped, label=0)
    assert cv2.imwrite(str(stopped.source / f"{image_id}.png"), films.film(99))
    other_times(stopped.source)
    assert films.run(monkeypatch, stopped) == ExitCode.DONE
    assert len(rewritten) == 5
    assert image_id in rewritten
    assert "1 input(s) were replaced" in caplog.text
    fresh = films.replaced(stopped, output=stopped.output.with_name("fresh"))
    films.run(monkeypatch, fresh)
    assert pixels(stopped) == pixels(fresh)


def test_a_stopped_conversion_notices_a_replaced_mask(stopped, rewritten, monkeypatch):
    image_id = finished_id(stopped, label=1)
    write_mask(stopped.mask_source / f"{image_id}.png", 1, left=30)
    assert films.run(monkeypatch, stopped) == ExitCode.DONE
    assert image_id in rewritten


def test_a_stopped_conversion_goes_on_with_a_copy(stopped, rewritten, monkeypatch):
    other_times(stopped.source)
    other_times(stopped.mask_source)
    assert films.run(monkeypatch, stopped) == ExitCode.DONE
    assert len(rewritten) == 4


def test_what_the_machine_lacked_is_tried_again(config, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    convert_film = image_records.convert

    def without_decoder(pixels, task):
        if task.image_id == "film3":
            raise InputError("DCM_NO_DECODER", "no decoder", fix="pip install it")
        return convert_film(pixels, task)

    config = films.replaced(config, max_bad_fraction=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(image_records, "convert", without_decoder)
        with pytest.raises(CommandError, match="1 of 8 inputs are bad"):
            films.run(patch, config)
    assert films.run(monkeypatch, config) == ExitCode.DONE
    assert "1 finished shard(s) are written again, as 1 film(s)" in caplog.text
    assert len(pixels(config)) == 8
    accepting = films.replaced(
        config, max_bad_fraction=0.2, output=config.output.parent / "other"
    )
    with monkeypatch.context() as patch:
        patch.setattr(image_records, "convert", without_decoder)
        assert films.run(patch, accepting) == ExitCode.QUARANTINED
    assert films.run(monkeypatch, accepting) == ExitCode.QUARANTINED
    assert "reasons that may have passed (DCM_NO_DECODER)" in caplog.text
