"""The power goes at random instants of the first installation and of downloads: each time the board comes back and serves.

The card has a cache of its own that only a flush empties, so that a cut loses what was written and not flushed. The instants
come from a seed that is recorded; SECATEUR_BOARDS_SEED repeats one.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from secateur.flash.payload import SETUP_PROGRAM
from tests.boards.board import Board, BoardFailed
from tests.boards.build_cache import say
from tests.boards.conftest import Record
from tests.boards.site import Site
from tests.bundle_factory import make_bundle

PROFILE = "raspberry-pi-4b"
# Together the ten random instants that are asked for.
CUTS_OF_INSTALL, CUTS_OF_DOWNLOAD = {"trixie": 3, "bookworm": 2}, 5
# How long the setup program of an emulated board runs, about, as a part of the time from power-on to its beginning: both
# stretch with the load of the machine that emulates.
SETUP_PER_BOOT = 0.8
_SPANS_S = ((0.0, 4.0), (4.0, 20.0))


@pytest.fixture
def chance(record: Record) -> random.Random:
    """Where the instants come from."""
    seed = int(os.environ.get("SECATEUR_BOARDS_SEED") or random.SystemRandom().randrange(10**6))
    record("seed", seed)
    return random.Random(seed)


@pytest.mark.parametrize(("kind", "cuts"), CUTS_OF_INSTALL.items())
def test_power_cuts_during_the_first_installation(
    kind: str, cuts: int, site: Site, flashed_board: Callable[..., Board], chance: random.Random, record: Record
) -> None:
    left, cards, instants, not_serving = cuts, 0, list[str](), 0
    while left:
        # A cut that came after the end of the setup program leaves nothing to cut: the next one gets a new card.
        device, cards = f"pi-cut-{kind}-{cards}", cards + 1
        board = flashed_board(kind, device)
        with board:
            ended = False
            while left and not ended:
                board.power_on()
                began = _wait_for_setup(board)
                instant = chance.uniform(0, SETUP_PER_BOOT * began)
                ended = _installed_before(board, began + instant)
                step = "ended" if ended else _last_step(board)
                board.power_cut()
                left -= 1
                instants.append(f"{began:.0f}+{instant:.1f} s: {step}")
                record("instants", "; ".join(instants))
            board.power_on()
            try:
                site.wait("signed birth", partial(site.born, device), 400, board)
                board.wait_until("systemctl is-active -q secateur-agent", 60)
                record(f"card_{cards}_power_on_to_birth_s", board.uptime_s)
            except AssertionError as error:
                say(str(error))
                not_serving += 1
    record("cuts", len(instants))
    record("not_serving", not_serving)
    assert not_serving == 0


def test_a_first_start_that_left_only_empty_files_is_made_again(
    site: Site, flashed_board: Callable[..., Board], record: Record
) -> None:
    """The worst that a cut can do to cloud-init, which flushes nothing: its files have their names, and nothing in them."""
    device = "pi-cut-empty"
    board = flashed_board("trixie", device)
    with board:
        board.power_on()
        _wait_for_setup(board)
        board.run("find /var/lib/cloud -type f -exec truncate -s 0 {} + && sync")
        board.power_cut()
        assert not site.born(device), "it was quicker than the cut"
        board.power_on()
        site.wait("signed birth", lambda: site.born(device), 400, board)
        record("power_on_to_birth_s", board.uptime_s)
        assert board.run("hostname") == device


def test_power_cuts_during_downloads_and_their_installation(
    site: Site, flashed_board: Callable[..., Board], chance: random.Random, record: Record, desk: Path
) -> None:
    device = "pi-cut-download"
    board = flashed_board("trixie", device)
    with board:
        board.power_on()
        site.wait("signed birth", lambda: site.born(device), 600, board)
        manifest = site.push(_bundle(desk, site, 0), device)
        site.wait("the first model", lambda: site.committed(device, manifest), 300, board)
        not_serving = 0
        for number in range(CUTS_OF_DOWNLOAD):
            before = site.reported(device)["boot"]
            manifest = site.push(_bundle(desk, site, number + 1), device, chunk_kib=16)
            # Every other one while it downloads, those between in the trial, which takes longer.
            time.sleep(chance.uniform(*_SPANS_S[number % 2]))
            state = str(site.reported(device)["install"])
            record(f"cut_{number}_in", state)
            board.power_cut()
            board.power_on()
            # It serves the model of before or the new one, and the new one in the end.
            try:
                board.wait_until(_SERVES, 300)
            except BoardFailed:
                not_serving += 1
            record(f"cut_{number}_power_on_to_serving_s", board.uptime_s)
            check = partial(site.committed, device, manifest)
            assert site.wait("the new model", check, 400, board)["boot"] != before
        record("not_serving", not_serving)
        assert not_serving == 0


_SERVES = """python3 - <<'END'
import json, urllib.request
body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0.5, -1, 2, 0.25]}]}
url = "http://127.0.0.1:8000/v2/models/toy/infer"
request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
print(json.load(urllib.request.urlopen(request, timeout=20)))
END"""


def _bundle(desk: Path, site: Site, number: int) -> Path:
    """A toy ladder with megabytes beside it, so that the download takes a while; each number is another one."""
    folder = desk / f"bundle-{number}"
    folder.mkdir()
    widths = [(16, 8, 4), (16, 12, 4), (16, 10, 6), (14, 8, 4), (12, 8, 4), (16, 6, 2)][number]
    return make_bundle(
        folder, site.keys, profile=PROFILE, widths=widths, ballast_bytes=((4 << 20) + 4096 * number) if number else 0
    )


def _wait_for_setup(board: Board) -> float:
    """Wait until the setup program runs, or the agent does already. Returns: seconds since power-on."""
    return board.wait_until(f"pgrep -f '{SETUP_PROGRAM} install' || systemctl is-active -q secateur-agent", 300, every_s=0.3)


def _installed_before(board: Board, uptime_s: float) -> bool:
    """Let time pass. Returns: whether the setup program has ended by then."""
    time.sleep(max(0.0, uptime_s - board.uptime_s))
    return board.run("grep -q installed /boot/firmware/secateur/setup-status.json && echo yes", 30, check=False) == "yes"


def _last_step(board: Board) -> str:
    """What setup said last, on the board."""
    return board.run("tail -n 1 /var/log/secateur-setup.log | cut -d' ' -f2-", 30, check=False) or "checks the files"
