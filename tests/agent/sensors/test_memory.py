from __future__ import annotations

import pytest

from secateur_agent.sensors.memory import Memory

MEMINFO = "MemTotal:        3884372 kB\nMemFree:          301232 kB\nMemAvailable:    2097152 kB\nBuffers:  1 kB\n"
MIB = 2**20


def test_available_and_total_come_from_meminfo_in_megabytes(tree):
    tree.write({"proc/meminfo": MEMINFO})
    readings = Memory(tree.root).read()
    assert readings["mem_available_mb"].value == 2048
    assert readings["mem_total_mb"].value == pytest.approx(3793.3, abs=0.1)
    assert readings["mem_total_mb"].quality == "measured"


def test_old_kernel_without_memavailable_loses_only_that_reading(tree):
    tree.write({"proc/meminfo": "MemTotal: 1024 kB\n"})
    readings = Memory(tree.root).read()
    assert readings["mem_total_mb"].value == 1
    assert readings["mem_available_mb"].value is None
    assert "MemAvailable" in readings["mem_available_mb"].note


def test_headroom_is_limit_minus_use(tree):
    tree.write({"sys/fs/cgroup/memory.max": f"{512 * MIB}\n", "sys/fs/cgroup/memory.current": f"{200 * MIB}\n"})
    assert Memory(tree.root).read()["cgroup_headroom_mb"].value == 312


def test_cold_file_pages_count_as_headroom(tree):
    tree.write(
        {
            "sys/fs/cgroup/memory.max": f"{512 * MIB}",
            "sys/fs/cgroup/memory.current": f"{500 * MIB}",
            "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {100 * MIB}\nactive_file 7\n",
        }
    )
    assert Memory(tree.root).read()["cgroup_headroom_mb"].value == 112


def test_the_tightest_group_above_the_process_decides(tree):
    tree.write(
        {
            "proc/self/cgroup": "1:name=systemd:/x\n0::/system.slice/secateur.service\n",
            "sys/fs/cgroup/system.slice/memory.max": f"{300 * MIB}",
            "sys/fs/cgroup/system.slice/memory.current": f"{250 * MIB}",
            "sys/fs/cgroup/system.slice/secateur.service/memory.max": f"{200 * MIB}",
            "sys/fs/cgroup/system.slice/secateur.service/memory.current": f"{100 * MIB}",
        }
    )
    reading = Memory(tree.root).read()["cgroup_headroom_mb"]
    assert reading.value == 50
    assert reading.source == "/sys/fs/cgroup/system.slice/memory.max"


def test_use_above_a_limit_that_was_lowered_is_no_headroom_at_all(tree):
    tree.write({"sys/fs/cgroup/memory.max": f"{MIB}", "sys/fs/cgroup/memory.current": f"{2 * MIB}"})
    assert Memory(tree.root).read()["cgroup_headroom_mb"].value == 0


def test_no_limit_is_unavailable_and_not_zero(tree):
    tree.write({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1"})
    reading = Memory(tree.root).read()["cgroup_headroom_mb"]
    assert reading.value is None
    assert reading.quality == "unavailable"
