"""The emulated Raspberry Pi 3B: its own card slot, USB and device tree, and no clock chip. Slow, so before a release only.

There is no port for the tests' shell on it: it is seen from the host, as by whoever uses one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boards.board import Board
from tests.boards.conftest import Record
from tests.boards.machine import RASPBERRY_PI_3B
from tests.boards.site import Site
from tests.bundle_factory import make_bundle

pytestmark = pytest.mark.skipif(
    os.environ.get("SECATEUR_BOARDS") != "release", reason="takes long: make test-boards RELEASE=1 runs it"
)
DEVICE, PROFILE = "pi-3b", "raspberry-pi-3b"
_CARD_BYTES = 2 << 30
"""QEMU takes cards of a power of two only."""


def test_a_flashed_card_is_born_serves_and_comes_back_after_a_power_cut(
    site: Site, flashed_board: Callable[..., Board], record: Record, desk: Path
) -> None:
    board = flashed_board("bookworm", DEVICE, profile=PROFILE, model=RASPBERRY_PI_3B)
    os.truncate(board.card, _CARD_BYTES)
    with board:
        board.power_on()
        site.wait("signed birth", lambda: site.born(DEVICE), 1500, board)
        record("power_on_to_birth_s", board.uptime_s)
        record("power_on_to_birth_cpu_s", board.cpu_s)
        manifest = site.push(make_bundle(desk, site.keys, profile=PROFILE), DEVICE)
        before = site.wait("its model", lambda: site.committed(DEVICE, manifest), 600, board)["boot"]
        board.power_cut()
        board.power_on()

        def came_back() -> bool:
            return site.committed(DEVICE, manifest).get("boot", before) != before and bool(site.serving(DEVICE))

        site.wait("the same model again", came_back, 900, board)
        record("power_on_to_serving_s", board.uptime_s)
