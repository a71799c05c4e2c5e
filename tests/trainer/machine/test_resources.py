"""The lines on cores and memory, with and without a container."""

import pytest

from tests.trainer.machine.made_up import only
from trainer.machine import resources
from trainer.machine.finding import Status


def test_cores_memory_and_shared_memory():
    assert "2 of 64" in only(resources.check_cores(2, 64)).text
    memory = resources.check_memory
    assert only(memory(8 << 30, 6 << 30)).text == "6.0 GB of 8.0 GB free"
    assert only(memory(8 << 30, 2 << 30)).status is Status.WARNING
    assert only(memory(8 << 30, 100 << 20)).status is Status.FAULT
    docker = 64 << 20
    assert only(resources.check_shared(8 << 30, 8)).status is Status.OK
    found = only(resources.check_shared(docker, 2))
    assert found.status is Status.WARNING
    assert "--shm-size=1g" in found.fix
    assert "64 MB: may be too little for 2 GPUs" in found.text
    assert only(resources.check_shared(docker, 1)).status is Status.WARNING


@pytest.mark.parametrize(
    ("line", "where", "names"),
    [
        ("0::/a/b", "a", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:memory:/a/b",
            "memory/a",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
        # In a container the group's own folder is the root.
        ("0::/a/b", "", ("memory.max", "memory.current", "inactive_file")),
    ],
)
def test_a_cgroup_limits_memory(tmp_path, line, where, names):
    meminfo, own = tmp_path / "meminfo", tmp_path / "own"
    meminfo.write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 900 kB\n")
    own.write_text(f"{line}\n9:cpu:/\n")
    group = tmp_path / "cgroup" / where
    group.mkdir(parents=True)
    kib = 1 << 10
    assert resources.memory(meminfo, tmp_path / "cgroup", own) == (
        1000 * kib,
        900 * kib,
    )
    (group / names[0]).write_text("max\n")
    (group / names[1]).write_text(f"{300 * kib}\n")
    (group / "memory.stat").write_text(f"anon 5\n{names[2]} {100 * kib}\n")
    assert resources.memory(meminfo, tmp_path / "cgroup", own) == (
        1000 * kib,
        900 * kib,
    )
    (group / names[0]).write_text(f"{500 * kib}\n")
    assert resources.memory(meminfo, tmp_path / "cgroup", own) == (500 * kib, 300 * kib)
