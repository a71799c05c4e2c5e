import dataclasses
import shutil

import pytest

from data_prep.build import claim as claim_module
from data_prep.build import plan
from data_prep.build import shard_facts
from data_prep.build import work_folder
from data_prep.build.shard_facts import FileFacts
from data_prep.build.shard_facts import ShardFacts
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

FACTS = ShardFacts(
    sources={"b": "12", "a": "34"},
    pixels={"b": "56", "a": "78"},
    looks={"b": "9a", "a": "bc"},
    rejected={"c": ("CODE", "reason", "fix")},
    files={
        64: FileFacts(num_records=2, num_bytes=9, sha256="ab", sums=(3, 5)),
        32: FileFacts(num_records=2, num_bytes=8, sha256="cd", sums=(1, 1)),
    },
    notices={"a": ("FEW_BITS_USED", "WINDOW_IGNORED")},
    spacings={"b": (0.1, 0.25, "PixelSpacing")},
)
# A stopped conversion may be continued by a later version.
STORED = {
    "sources": {"b": "12", "a": "34"},
    "pixels": {"b": "56", "a": "78"},
    "looks": {"b": "9a", "a": "bc"},
    "rejected": {"c": ["CODE", "reason", "fix"]},
    "files": {
        "64": {"num_records": 2, "num_bytes": 9, "sha256": "ab", "sums": [3, 5]},
        "32": {"num_records": 2, "num_bytes": 8, "sha256": "cd", "sums": [1, 1]},
    },
    "notices": {"a": ["FEW_BITS_USED", "WINDOW_IGNORED"]},
    "spacings": {"b": [0.1, 0.25, "PixelSpacing"]},
}


NAME = "test.tfrecord-00000-of-00001"


@pytest.fixture
def config(convert_config, tmp_path):
    return dataclasses.replace(convert_config, output=tmp_path)


def claim(config, **value):
    """Returns the digest of a claim."""
    durable.write_json(work_folder.claim_file(config), value)
    return work_folder.claim_digest(config)


def test_facts_keep_their_format_on_disk(config, tmp_path):
    assert not shard_facts.exist(config, NAME)
    claimed = claim(config)
    shard_facts.write(config, NAME, FACTS, claim=claimed)
    assert shard_facts.exist(config, NAME)
    durable.write_json(tmp_path / "expected.json", STORED)
    file = tmp_path / ".work" / f"{NAME}.{claimed[:16]}.json"
    assert file.read_text() == (tmp_path / "expected.json").read_text()
    read = shard_facts.read(config, NAME)
    assert durable.to_jsonable(dataclasses.asdict(read)) == STORED
    assert list(read.files) == [64, 32]
    assert shard_facts.finished(config) == {NAME: file}


def test_facts_of_an_earlier_release_have_no_spacings(config):
    claimed = claim(config)
    shard_facts.write(config, NAME, FACTS, claim=claimed)
    file = shard_facts.finished(config)[NAME]
    former = {k: v for k, v in STORED.items() if k != "spacings"}
    durable.write_json(file, former)
    assert shard_facts.read(config, NAME).spacings == {}


def test_facts_of_another_conversion_are_none(config):
    shard_facts.write(config, NAME, FACTS, claim=claim(config, sizes=[32]))
    claim(config, sizes=[64])
    assert not shard_facts.exist(config, NAME)
    assert not shard_facts.finished(config)
    claim(config, sizes=[32])
    assert shard_facts.exist(config, NAME)


def test_late_facts_make_no_work_folder(config):
    claimed = claim(config)
    shutil.rmtree(work_folder.path(config))
    with pytest.raises(CommandError) as refused:
        shard_facts.write(config, NAME, FACTS, claim=claimed)
    assert refused.value.exit_code == ExitCode.CONFLICT
    assert not work_folder.path(config).exists()


@pytest.mark.parametrize("has_claim", [True, False])
def test_a_first_claim_drops_facts_that_came_before(config, monkeypatch, has_claim):
    monkeypatch.setattr(plan, "fingerprint", lambda _: "inputs")
    planned = plan.Plan(
        shards=[], names={}, labels_without_image=(), files={}, stamps={}
    )
    claim_module.claim(config, planned)
    claimed = work_folder.claim_digest(config)
    if has_claim:
        claim(config, sizes=[96])
    else:
        work_folder.claim_file(config).unlink()
    shard_facts.write(config, NAME, FACTS, claim=claimed)
    claim_module.claim(config, planned)
    assert work_folder.claim_digest(config) == claimed
    assert not shard_facts.finished(config)
