"""A card that `secateur flash image` has written makes a board that is enrolled by itself. All times are emulated ones."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.boards.board import Board
from tests.boards.conftest import Record
from tests.boards.fat import BootPartition
from tests.boards.image import KINDS
from tests.boards.site import Site

_SECRETS = {"broker-password", "enrolment-token"}
_OURS = "/opt/secateur /etc/secateur /var/lib/secateur /etc/systemd/system/secateur-agent.service /boot/firmware/secateur"


@pytest.mark.parametrize("kind", KINDS)
def test_board_boots_to_a_signed_birth_over_tls_and_can_be_cleaned(
    kind: str, site: Site, flashed_board: Callable[..., Board], record: Record
) -> None:
    device = f"pi-{kind}"
    started = time.monotonic()
    # Its clock starts in 1970: the card brings the time that certificates need.
    board = flashed_board(kind, device, clock="1970-01-01T00:00:00")
    record("flash_s", time.monotonic() - started)
    with board:
        board.power_on()
        found = site.wait("signed birth", lambda: site.born(device), 600, board)
        record("power_on_to_birth_s", board.uptime_s)
        record("power_on_to_birth_cpu_s", board.cpu_s)
        record("boots", board.boots)
        record("python", board.run("python3 -c 'import platform; print(platform.python_version())'"))
        assert "by its token" in found["enrolment"]
        site.wait("telemetry", lambda: _samples(site, device), 120, board)
        assert abs(int(board.run("date +%s")) - time.time()) < 24 * 3600
        assert not _SECRETS & set(board.run("ls /boot/firmware/secateur").split())
        assert board.run("stat -c '%U %a' /etc/secateur/broker-password") == "root 640"
        assert board.run("hostname") == device
        record("running_s", board.wait_until("systemctl is-system-running | grep -qx running", 240))
        exposure = board.run("systemd-analyze security --no-pager secateur-agent | tail -1 | grep -o '[0-9][0-9.]*'")
        record("unit_exposure", float(exposure))
        assert float(exposure) <= 3
        board.run("python3 /opt/secateur/secateur-setup.pyz remove")
        assert board.run(f"ls -d {_OURS} 2>/dev/null", check=False) == ""
        board.shutdown()
        # What its first boot was given is still on the card; it must not begin anew.
        board.power_on()
        board.wait_until("systemctl is-system-running | grep -qx running", 240)
        assert board.run(f"ls -d {_OURS} 2>/dev/null; pgrep -f '[s]ecateur'; id secateur 2>/dev/null", check=False) == ""
        board.shutdown()
    command_line = BootPartition(board.card).read("cmdline.txt").decode()
    assert "systemd.run" not in command_line
    assert "psi=1" in command_line


def _samples(site: Site, device: str) -> bool:
    with site.host.client() as client:
        return bool(client.telemetry(device, after=-1, limit=1))
