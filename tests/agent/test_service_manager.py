"""What a service manager is told, on a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from secateur_agent.service_manager import ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(200).decode())
        except BlockingIOError:
            return found


def test_the_first_word_is_ready_and_the_rest_is_alive(manager: socket.socket) -> None:
    told = ServiceManager({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "60000000"})
    for now_s in range(25):
        told.alive(float(now_s))
    told.ending()
    assert heard(manager) == ["READY=1\nWATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_a_hasty_watchdog_is_fed_often_enough(manager: socket.socket) -> None:
    told = ServiceManager({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "8000000"})
    for now_s in range(8):
        told.alive(float(now_s))
    assert len(heard(manager)) == 4


def test_what_a_busy_manager_did_not_take_is_said_again(tmp_path: Path) -> None:
    told = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "later")})
    told.alive(0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "later"))
        listening.setblocking(False)
        told.alive(1.0)
        assert heard(listening) == ["READY=1\nWATCHDOG=1"]


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0secateur-test-notify")
        listening.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": "@secateur-test-notify"}).alive(0.0)
        assert listening.recv(200) == b"READY=1\nWATCHDOG=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere"}, {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "soon"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    told = ServiceManager(environment)
    told.alive(0.0)
    told.ending()
