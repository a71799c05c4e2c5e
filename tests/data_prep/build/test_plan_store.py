"""A stored plan is read as it was written, and only used for what it is of."""

import dataclasses
import json
import logging
import os

import cv2
import numpy as np
import pytest

from data_prep.build import bad_inputs
from data_prep.build import claim
from data_prep.build import header_unit
from data_prep.build import plan
from data_prep.build import plan_choice
from data_prep.build import plan_store
from data_prep.build import source_inputs
from data_prep.config import Placement
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.source.image_ids import read_sop_instance_uid
from tests.data_prep.build import films

NAMES = {f"films/film{k}.png": k for k in range(7)}
ROW = ("films/bad.dcm", "CODE", "a reason", "a fix")
INPUTS = {"inputs": "a digest", "listing": "another"}


@pytest.fixture
def config(tmp_path):
    films.write(tmp_path, NAMES | {"films/unlabelled.png": 7, "test/one.jpg": 8})
    (tmp_path / "test/one.jpg").rename(tmp_path / "test/caf\udce9.jpg")
    ids = [f"film{k}" for k in range(7)]
    films.write_labels(tmp_path / "labels.csv", [*ids, "elsewhere"])
    return films.config(
        tmp_path,
        test_source=tmp_path / "test",
        records_per_shard=2,
        max_bad_fraction=0.5,
    )


def reader(config):
    functions = (header_unit.facts_reader(config.group_salt), read_sop_instance_uid)
    return films.InProcess(*functions, num_workers=1)


def made(config):
    return plan.make(config, reader(config), bad_inputs.none_yet(config))


def with_masks(config):
    """Returns a config whose labels are masks, every second one not empty."""
    folder = config.source.parent / "masks"
    folder.mkdir()
    for k in range(7):
        mask = np.zeros((films.SIDE, films.SIDE), np.uint8)
        mask[10:20, 10 : 20 + k] = 255 * (k % 2)
        assert cv2.imwrite(str(folder / f"film{k}.png"), mask)
    return films.replaced(config, rle_csv=None, mask_source=folder)


@pytest.mark.parametrize("change", [lambda c: c, with_masks])
def test_a_plan_reads_back_as_it_was(config, change):
    config = change(config)
    planned = made(config)
    plan_store.write(config, planned, [ROW], **INPUTS)
    head = plan_store.read_head(config)
    stored = plan_store.read(config, head)
    assert stored.plan == planned
    assert stored.quarantined == [ROW]
    assert head.fingerprint == plan.fingerprint(stored.plan.shards)
    assert (head.inputs, head.listing) == tuple(INPUTS.values())
    for shard in planned.shards:
        assert plan_store.read_shard(config, shard.name) == shard
        files, stamps = plan_store.read_stamps(config, shard.name)
        assert files.items() <= planned.files.items()
        assert stamps.items() <= planned.stamps.items()
        assert {t.file for t in shard.tasks} <= set(files.values())


def test_a_file_may_be_a_mask_too(config):
    config = with_masks(config)
    planned = made(config)
    train = [s for s in planned.shards if s.fold >= 0]
    # As if each image were its own mask.
    files = {k: f for k, f in planned.files.items() if not k.startswith("mask")}
    files |= {f"mask_{k}": f for k, f in files.items() if k.startswith("source/")}
    shards = [
        dataclasses.replace(
            s,
            tasks=tuple(dataclasses.replace(t, mask_file=t.file) for t in s.tasks),
        )
        for s in train
    ]
    stamps = {k: (1, 2, "3" * k.startswith("mask")) for k in files}
    planned = dataclasses.replace(
        planned,
        shards=shards,
        names={t.image_id: planned.names[t.image_id] for s in shards for t in s.tasks},
        files=files,
        stamps=stamps,
    )
    plan_store.write(config, planned, [], **INPUTS)
    stored = plan_store.read(config, plan_store.read_head(config))
    assert stored.plan == planned


def test_a_plan_without_its_head_is_none(config, monkeypatch):
    plan_store.write(config, made(config), [], **INPUTS)
    with monkeypatch.context() as patch:
        patch.setattr(plan_store, "_write_table", _stop)
        with pytest.raises(KeyboardInterrupt):
            plan_store.write(config, made(config), [], **INPUTS)
    assert plan_store.read_head(config) is None


def test_a_plan_that_lacks_a_piece_is_refused(config):
    plan_store.write(config, made(config), [ROW], **INPUTS)
    head = plan_store.read_head(config)
    next((config.output / ".work/plan").glob("quarantine-*")).unlink()
    with pytest.raises(CommandError, match="run --plan_only again"):
        plan_store.read(config, head)


def test_a_plan_of_another_version_is_none(config, monkeypatch):
    plan_store.write(config, made(config), [], **INPUTS)
    monkeypatch.setattr(plan_store, "_FORMAT", 3)
    assert plan_store.read_head(config) is None


def test_what_decides_nothing_is_no_option(config):
    other = dataclasses.replace(
        config, num_workers=9, allow_quarantined=3, placement=Placement(plan_only=True)
    )
    assert plan_store.options(other) == plan_store.options(config)
    for fields in ({"clahe": "none"}, {"group_salt": "x"}, {"fold_seed": 3}):
        changed = dataclasses.replace(config, **fields)
        assert plan_store.options(changed) != plan_store.options(config)
    secret = dataclasses.replace(config, group_salt="a-secret")
    assert "a-secret" not in json.dumps(plan_store.options(secret))


def choose(config, *, keep=True):
    """Returns a chosen plan and how many headers were read for it."""
    bad = bad_inputs.none_yet(config)
    counted = reader(config)
    num_read = 0
    in_order = counted.imap_ordered

    def counting(function, items):
        nonlocal num_read
        num_read += len(items)
        return in_order(function, items)

    counted.imap_ordered = counting
    inputs = source_inputs.digest(config)
    planned = plan_choice.choose(config, counted, bad, inputs, keep=keep)
    return planned, bad.rows(), num_read


def test_a_stored_plan_is_used_again(config):
    first, rows, num_read = choose(config)
    assert num_read == 8
    assert len(rows) == 1
    assert choose(config) == (first, rows, 0)
    fewer = films.replaced(config, num_workers=7, allow_quarantined=1)
    assert choose(fewer, keep=False) == (first, rows, 0)


def test_a_plan_is_made_again_for_a_touched_film(config, caplog):
    caplog.set_level(logging.INFO)
    choose(config)
    os.utime(config.source / "film3.png", ns=(1, 1))
    assert choose(config)[2] == 8
    assert "made again: files were replaced or touched" in caplog.text
    assert choose(config)[2] == 0


def test_a_plan_is_made_again_for_an_added_film(config):
    choose(config)
    films.write(config.source, {"more.png": 9})
    with pytest.raises(CommandError) as refused:
        choose(films.replaced(config, max_bad_fraction=0.0))
    assert refused.value.exit_code == ExitCode.TOO_MANY_BAD
    assert choose(config)[2] == 8
    rows = choose(config)[1]
    assert len(rows) == 2


def test_a_plan_is_made_again_for_what_the_machine_lacked(config, caplog):
    caplog.set_level(logging.INFO)
    planned, rows, _ = choose(config)
    gone = ("films/x.dcm", "SRC_UNREADABLE", "a reason", "a fix")
    stored = {
        "inputs": source_inputs.digest(config),
        "listing": source_inputs.listing_digest(config),
    }
    plan_store.write(config, planned, [*rows, gone], **stored)
    assert choose(config)[2] == 8
    assert "reasons that may have passed (SRC_UNREADABLE)" in caplog.text


def test_a_plan_of_another_conversion_is_refused(config):
    choose(config)
    with pytest.raises(CommandError) as refused:
        choose(films.replaced(config, clahe="none"))
    assert refused.value.exit_code == ExitCode.CONFLICT
    # The stored one is still that of the claim.
    head = plan_store.read_head(config)
    assert claim.sizes_of(config, head.fingerprint) == (32,)


def _stop(*_):
    raise KeyboardInterrupt
