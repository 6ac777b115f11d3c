"""What a system is: accepted, or refused with what to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wheel_factory import this_python

from secateur.flash.target import PROBE, TargetError, check_systemd, make_target, target_of


def test_platforms_go_from_the_boards_glibc_down() -> None:
    found = make_target("3.11.2", "aarch64", "2.36", "pi").platforms()
    assert found[0] == "manylinux_2_36_aarch64"
    assert "manylinux_2_28_aarch64" in found
    assert "manylinux_2_37_aarch64" not in found
    assert found[-2:] == ["manylinux2014_aarch64", "linux_aarch64"]


@pytest.mark.parametrize(
    ("python", "machine", "glibc", "text"),
    [
        ("3.8.10", "aarch64", "2.31", "Python 3.8 is too old"),
        ("", "aarch64", "2.31", "no Python 3 found"),
        ("3.11", "armv7l", "2.36", "32-bit system on a board that may well run a 64-bit one"),
        ("3.11", "riscv64", "2.36", "supported are aarch64 and x86_64"),
        ("3.11", "aarch64", "", "not glibc"),
        ("3.11", "aarch64", "1.2.3", "not glibc"),
        ("3.11", "aarch64", "2.5", "too old"),
    ],
)
def test_a_system_without_wheels_is_refused_with_what_to_do(python: str, machine: str, glibc: str, text: str) -> None:
    """No wheel for the board (microsoft/onnxruntime#24511, #18951): said before anything is downloaded or written."""
    with pytest.raises(TargetError, match=text) as caught:
        make_target(python, machine, glibc, "cam-1")
    assert str(caught.value).startswith("cam-1: ")


def test_the_probe_tells_what_this_machine_is() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PROBE], capture_output=True, text=True, check=True)
    assert target_of(json.loads(done.stdout), "here") == this_python()


def test_a_32_bit_system_with_a_64_bit_kernel_is_a_32_bit_one() -> None:
    """Raspberry Pi OS (32-bit) has such a kernel; wheels for the machine that ``uname -m`` names cannot be loaded there."""
    program = "import platform,sys;sys.maxsize=2**31-1;platform.machine=lambda:'aarch64';" + PROBE
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    with pytest.raises(TargetError, match="it is a 32-bit system on a board that may well run a 64-bit one"):
        target_of(json.loads(done.stdout), "cam-1")


@pytest.mark.parametrize("probed", [{}, {"systemd": False}, {"systemd": "no"}])
def test_where_nothing_would_start_the_agent_it_is_refused(probed: dict[str, object]) -> None:
    with pytest.raises(TargetError, match=r"^cam-1: systemd does not run there"):
        check_systemd(probed, "cam-1")


@given(st.dictionaries(st.sampled_from(["python", "machine", "glibc"]), st.none() | st.integers() | st.text(max_size=20)))
def test_whatever_a_board_answers_is_a_target_or_one_line(probed: dict[str, object]) -> None:
    try:
        found = target_of(probed, "cam-1").name
    except TargetError as error:
        found = str(error)
    assert len(found.splitlines()) == 1
