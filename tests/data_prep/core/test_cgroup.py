"""Limits of a job's control groups, in the kernel's files of both versions."""

import pytest

from data_prep.core import cgroup
from data_prep.core import cores
from data_prep.core import memory

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Returns a function that lays out the kernel's files."""
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "OWN", tmp_path / "own")

    def lay(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    return lay


def test_without_groups_there_is_no_limit(groups, tmp_path):
    assert (cgroup.cpu_quota(), cgroup.free_memory()) == (None, None)
    groups("0::/\n", **{"cpu.max": "max 100000", "memory.max": "max"})
    assert (cgroup.cpu_quota(), cgroup.free_memory()) == (None, None)


def test_the_tightest_group_above_the_job_counts(groups):
    groups(
        "0::/slurm/job/step\n",
        **{
            "slurm/cpu.max": "800000 100000",
            "slurm/job/cpu.max": "150000 100000",
            "slurm/job/step/cpu.max": "max 100000",
            "slurm/memory.max": 8 * GIB,
            "slurm/memory.current": 7 * GIB,
            "slurm/memory.stat": f"anon 5\ninactive_file {2 * GIB}",
            "slurm/job/memory.max": 5 * GIB,
            "slurm/job/memory.current": GIB,
        },
    )
    assert cgroup.cpu_quota() == 1.5
    assert cgroup.free_memory() == 3 * GIB


def test_a_container_sees_its_group_as_the_root(groups):
    groups(
        "0::/docker/0123\n",
        **{"cpu.max": "100000 100000", "memory.max": GIB},
        **{"memory.current": 2 * GIB},
    )
    assert (cgroup.cpu_quota(), cgroup.free_memory()) == (1.0, 0)


def test_version_1(groups):
    groups(
        "4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/x\n",
        **{
            "cpu,cpuacct/job/cpu.cfs_quota_us": 50000,
            "cpu,cpuacct/job/cpu.cfs_period_us": 100000,
            "cpu,cpuacct/cpu.cfs_quota_us": -1,
            "cpu,cpuacct/cpu.cfs_period_us": 100000,
            "memory/job/memory.limit_in_bytes": 2 * GIB,
            "memory/job/memory.usage_in_bytes": GIB,
            "memory/job/memory.stat": "total_inactive_file 5",
            "memory/memory.limit_in_bytes": 9223372036854771712,
            "memory/memory.usage_in_bytes": GIB,
        },
    )
    assert cgroup.cpu_quota() == 0.5
    assert cgroup.free_memory() == GIB + 5
    groups("4:memory:/\n3:cpu,cpuacct:/\n")
    assert (cgroup.cpu_quota(), cgroup.free_memory()) == (None, None)


def test_cores_and_memory_keep_to_it(groups, monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  4194304 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    assert memory.available() == 4 * GIB
    groups(
        "0::/job\n",
        **{
            "job/cpu.max": "20000 100000",
            "job/memory.max": GIB,
            "job/memory.current": 0,
        },
    )
    assert cores.available() == 1
    assert memory.available() == GIB
