"""Boards boot, shut down, and boot again after their power was cut. All times are emulated ones."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from tests.boards.board import Board, BoardFailed
from tests.boards.conftest import Record
from tests.boards.fat import BootPartition

_BOOTED = "systemctl is-system-running | grep -qx running"
NewBoard = Callable[..., Board]


def test_board_boots_and_shuts_down(new_board: NewBoard, record: Record) -> None:
    with new_board() as board:
        board.power_on()
        board.wait_for("login:", 240)
        record("login_s", board.uptime_s)
        record("running_s", board.wait_until(_BOOTED, 120))
        record("running_cpu_s", board.cpu_s)
        assert board.run("uname -m; findmnt -n -o FSTYPE /boot/firmware").split() == ["aarch64", "vfat"]
        assert board.run("dpkg --audit; systemctl --failed --no-legend") == ""
        assert len(board.run("cat /etc/machine-id")) == 32
        board.shutdown()
        assert not board.on


def test_boots_again_after_power_cuts_and_loses_only_what_was_not_flushed(new_board: NewBoard, record: Record) -> None:
    with new_board() as board:
        board.power_on()
        board.wait_until("test -w /var/tmp", 240)
        record("early_cut_s", board.uptime_s)
        board.power_cut()
        board.power_on()
        board.wait_until(_BOOTED, 240)
        machine = board.run("cat /etc/machine-id")
        board.run("echo kept > /root/kept && sync /root/kept && sync -f /root && echo lost > /root/lost")
        pids = board.pids
        board.power_cut()
        assert not any(_alive(pid) for pid in pids)
        board.power_on()
        record("running_after_cut_s", board.wait_until(_BOOTED, 240))
        assert board.run("cat /root/kept") == "kept"
        # The file that was not flushed was in the board's memory, or in the cache of its card.
        assert board.run("cat /root/lost", check=False) != "lost"
        assert board.run("cat /etc/machine-id") == machine


def test_a_command_line_with_a_first_boot_program_resets_the_board_and_it_boots_from_the_changed_one(
    new_board: NewBoard, record: Record
) -> None:
    with new_board() as board:
        boot = BootPartition(board.card)
        line = boot.read("cmdline.txt").decode().strip()
        boot.write("cmdline.txt", f"{line} init=/usr/lib/raspberrypi-sys-mods/firstboot\n".encode())
        board.power_on()
        record("running_s", board.wait_until(f"grep -qv firstboot /proc/cmdline && {_BOOTED}", 300))
        assert board.boots == 2
        board.shutdown()
        assert boot.read("cmdline.txt").decode().strip() == line


def test_systemd_run_of_the_command_line_runs_firstrun_and_boots_again(new_board: NewBoard, record: Record) -> None:
    """Bookworm's mechanism, as Raspberry Pi's own imager uses it."""
    with new_board() as board:
        boot = BootPartition(board.card)
        line = boot.read("cmdline.txt").decode().strip()
        added = "systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot"
        boot.write("cmdline.txt", f"{line} {added} systemd.unit=kernel-command-line.target\n".encode())
        script = """#!/bin/bash
        echo ran >> /root/firstrun
        rm /boot/firmware/firstrun.sh
        sed -i 's| systemd[.][^ ]*||g' /boot/firmware/cmdline.txt
        """
        boot.write("firstrun.sh", script.encode())
        board.power_on()
        record("running_s", board.wait_until(f"grep -qv systemd.run /proc/cmdline && {_BOOTED}", 300))
        assert board.run("cat /root/firstrun") == "ran"
        assert board.boots == 2
        assert not board.run("ls /boot/firmware/firstrun.sh 2>/dev/null", check=False)


def test_cloud_init_reads_the_boot_partition(new_board: NewBoard, record: Record) -> None:
    """Trixie's mechanism."""
    with new_board("trixie") as board:
        boot = BootPartition(board.card)
        line = boot.read("cmdline.txt").decode().strip()
        boot.write("cmdline.txt", f"{line} ds=nocloud;i=test-1\n".encode())
        boot.write("meta-data", b"instance-id: test-1\n")
        boot.write("user-data", b"#cloud-config\nhostname: kitchen\nruncmd:\n- [sh, -c, 'echo ran >> /root/runcmd']\n")
        board.power_on()
        board.wait_until("grep -qx ran /root/runcmd", 300)
        record("runcmd_s", board.uptime_s)
        board.wait_until(_BOOTED, 120)
        assert board.run("hostname") == "kitchen"


def test_ssh_file_on_the_boot_partition_turns_ssh_on(new_board: NewBoard, record: Record) -> None:
    with new_board() as board:
        BootPartition(board.card).write("ssh", b"")
        board.power_on()
        record("listening_s", board.wait_until("ss -ltn | grep -q :22", 240))
        with socket.create_connection(("127.0.0.1", board.ports[22]), timeout=30) as connection:
            assert connection.recv(7) == b"SSH-2.0"


def test_board_without_a_clock_chip_wakes_up_in_the_past(new_board: NewBoard, record: Record) -> None:
    with new_board(clock="1970-01-01T00:00:00") as board:
        board.power_on()
        board.wait_until(_BOOTED, 240)
        # systemd raises the clock from 1970 to when it was built itself, and that is all that is known.
        behind_s = time.time() - int(board.run("date +%s"))
        record("behind_days", behind_s / 86400)
        assert behind_s > 86400


def test_what_does_not_happen_is_told_with_the_end_of_the_console(new_board: NewBoard) -> None:
    with new_board(command_line="init=/bin/false") as board:
        board.power_on()
        with pytest.raises(BoardFailed, match="its console, the end"):
            board.wait_for("login:", 60)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
