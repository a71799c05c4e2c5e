import dataclasses

from data_prep.build import work_folder
from data_prep.build.work_folder import FileFacts
from data_prep.build.work_folder import ShardFacts
from data_prep.core import durable

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
}


def test_facts_keep_their_format_on_disk(convert_config, tmp_path):
    config = dataclasses.replace(convert_config, output=tmp_path)
    assert not work_folder.has_facts(config, "test")
    work_folder.write_facts(config, "test", FACTS)
    assert work_folder.has_facts(config, "test")
    durable.write_json(tmp_path / "expected.json", STORED)
    written = (tmp_path / ".work" / "test.json").read_text()
    assert written == (tmp_path / "expected.json").read_text()
    read = work_folder.read_facts(config, "test")
    assert durable.to_jsonable(dataclasses.asdict(read)) == STORED
    assert list(read.files) == [64, 32]
