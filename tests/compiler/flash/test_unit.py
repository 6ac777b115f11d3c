"""The systemd unit, judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from secateur.flash.unit import unit_file
from secateur_profiles import load, names

ALL = names()


def setting(text: str, key: str) -> str:
    found = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    assert len(found) == 1, (key, found)
    return str(found[0])


@pytest.mark.parametrize("name", ALL)
def test_memory_limits_come_from_the_profile(name: str) -> None:
    profile = load(name)
    text = unit_file(profile)
    high, most = (int(setting(text, key).removesuffix("M")) for key in ("MemoryHigh", "MemoryMax"))
    assert profile.memory.worker_limit_mb < high <= most <= profile.memory.total_mb


@pytest.mark.parametrize("name", ["raspberry-pi-zero-2w", "raspberry-pi-5", "jetson-orin-nano"])
def test_systemd_rates_it_as_shut_in(tmp_path: Path, name: str) -> None:
    path = tmp_path / "secateur-agent.service"
    path.write_text(unit_file(load(name)))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for secateur-agent\.service: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= 3.0


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    path = tmp_path / "secateur-agent.service"
    path.write_text(unit_file(load("raspberry-pi-5")))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    own = [line for line in done.stderr.splitlines() if str(path) in line or "secateur-agent.service:" in line]
    assert not [line for line in own if "is not executable" not in line and "not found" not in line], own


def test_it_is_watched_and_not_root() -> None:
    text = unit_file(load("raspberry-pi-5"))
    assert setting(text, "User") == "secateur"
    assert setting(text, "Type") == "notify"
    assert int(setting(text, "WatchdogSec")) > 0
    assert setting(text, "OOMPolicy") == "continue"


def test_only_a_gpu_may_compile_code() -> None:
    assert "\nMemoryDenyWriteExecute=yes" in unit_file(load("raspberry-pi-5"))
    assert "\nMemoryDenyWriteExecute=yes" not in unit_file(load("jetson-orin-nano"))


def test_what_runs_beside_a_start_does_not_keep_the_agent_from_serving() -> None:
    """A full disk or a damaged setup program is no reason to serve nothing."""
    text = unit_file(load("raspberry-pi-5"))
    for key in ("ExecStartPre", "ExecStartPost"):
        assert setting(text, key).startswith("-+")


def test_a_gpu_may_be_opened_where_there_is_one() -> None:
    assert setting(unit_file(load("jetson-orin-nano")), "SupplementaryGroups") == "video"
    assert "SupplementaryGroups" not in unit_file(load("raspberry-pi-5"))
