"""A flashed board gets a ladder, serves it, and steps down and up as its kernel tells of battery and memory.

The tests follow each other on one board. Times are emulated ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.boards.board import Board
from tests.boards.conftest import Record
from tests.boards.hardware import set_battery, set_power_rails
from tests.boards.ladder import compile_ladder, digits, infer
from tests.boards.site import Site

DEVICE = "pi-life"
PROFILE = "raspberry-pi-4b"


class Requests:
    """A client that infers all the time, as an application would; `failed` counts what was not answered."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answered = 0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(timeout=90)

    def _run(self) -> None:
        x, _ = digits()
        while not self._stop.wait(0.3):
            try:
                infer(self.address, x[:1])
                self.answered += 1
            except Exception as error:
                self.failed.append(repr(error))


@dataclass(frozen=True)
class Life:
    """The board and where it lives."""

    site: Site
    board: Board
    bundle: Path

    @property
    def address(self) -> str:
        """Where it infers."""
        return f"127.0.0.1:{self.board.ports[8000]}"

    def rungs(self) -> list[str]:
        """Its rungs, most accurate first."""
        return list(self.site.reported(DEVICE).get("rungs", ()))

    def wait_for_rung(self, what: str, rung: Callable[[str], bool], limit_s: float) -> str:
        """Wait until it serves such a rung."""

        def found() -> str:
            served = self.site.serving(DEVICE)
            return served if served and rung(served) else ""

        return self.site.wait(what, found, limit_s, self.board)

    def events(self) -> list[str]:
        """What the host has on record of it."""
        with self.site.host.client() as client:
            return [str(event["text"]) for event in client.events(DEVICE)]

    def policy(self, **changes: object) -> None:
        """What its governor aims at, instead of the policy before."""
        with self.site.host.client() as client:
            client.policy(DEVICE, {"reprune": False, **changes})


@pytest.fixture(scope="module")
def life(site: Site, desk: Path, flashed_board: Callable[..., Board]) -> Life:
    bundle = compile_ladder(desk / "compiled", site.keys, PROFILE)
    # The kind whose kernel has stand-ins for hardware.
    board = flashed_board("bookworm", DEVICE, "--listen", "0.0.0.0:8000", profile=PROFILE, reachable=[8000])
    board.power_on()
    site.wait("signed birth", lambda: site.born(DEVICE), 600, board)
    return Life(site, board, bundle)


def test_a_pushed_ladder_is_committed_and_infers(life: Life, record: Record) -> None:
    started = time.monotonic()
    manifest = life.site.push(life.bundle, DEVICE)
    reported = life.site.wait("commit", lambda: life.site.committed(DEVICE, manifest), 300, life.board)
    record("push_to_serving_s", time.monotonic() - started)
    measured = {each["rung"]: each for each in reported["measurements"]}
    assert set(measured) == set(reported["rungs"])
    for rung, each in measured.items():
        record(f"{rung}_latency_ms", each["latency_p50_ms"])
        record(f"{rung}_memory_mb", each["peak_rss_mb"])
    x, y = digits()
    answers, rung = infer(life.address, x[700:740])
    assert rung == reported["rung"]
    assert np.mean(np.equal(answers, y[700:740])) >= 0.7


def test_power_of_the_ina3221_is_in_the_telemetry(life: Life, record: Record) -> None:
    set_power_rails(life.board, {"VDD_IN": (5.0, 1.6)})
    value = life.site.wait("power in the telemetry", lambda: _reading(life, "power_mw"), 120, life.board)
    record("power_mw", value)
    assert value == pytest.approx(8000, rel=0.01)


def test_a_battery_that_does_not_last_makes_it_step_down_and_a_charger_brings_it_back(life: Life, record: Record) -> None:
    requests = Requests(life.address)
    try:
        top = life.wait_for_rung("a rung", bool, 60)
        set_battery(life.board, 9, "discharging", milliwatts=3000)
        life.policy(horizon_s=6 * 3600.0)
        started = time.monotonic()
        low = life.wait_for_rung("a smaller rung", lambda rung: rung != top, 120)
        record("step_down_s", time.monotonic() - started)
        assert low == life.rungs()[-1]
        assert any("the battery's horizon" in text for text in life.events()), life.events()[-5:]
        set_battery(life.board, 30, "charging")
        started = time.monotonic()
        life.wait_for_rung("the top rung", lambda rung: rung == top, 240)
        record("back_up_s", time.monotonic() - started)
    finally:
        life.policy()
        requests.stop()
    record("requests_answered", requests.answered)
    assert not requests.failed


def test_a_balloon_that_takes_the_memory_makes_it_step_down(life: Life, record: Record) -> None:
    top = life.wait_for_rung("a rung", bool, 60)
    requests = Requests(life.address)
    size_mb = 1024.0
    try:
        # What is free beside the worker must fall below the governor's margin, and no further.
        deadline = time.monotonic() + 300
        while life.site.serving(DEVICE) == top:
            assert time.monotonic() < deadline, f"{_available_mb(life.board):.0f} MB are available and it serves {top}"
            if (spare := _available_mb(life.board) - 24) > 2:
                size_mb -= max(4, spare)
                life.board.set_balloon_mb(int(size_mb))
            time.sleep(4)
        record("available_mb", _available_mb(life.board))
        assert any("memory (" in text for text in life.events()), life.events()[-5:]
    finally:
        life.board.set_balloon_mb(1024)
        requests.stop()
    record("requests_answered", requests.answered)
    record("requests_failed", len(requests.failed))
    life.wait_for_rung("the top rung again", lambda rung: rung == top, 240)


def test_when_no_rung_fits_it_asks_and_serves_what_the_host_cuts(life: Life, record: Record) -> None:
    measured = {each["rung"]: each["latency_p50_ms"] for each in life.site.reported(DEVICE)["measurements"]}
    rungs = life.rungs()
    # All rungs of this ladder are as accurate: only a network that is faster than all of them is worth asking for.
    objective_ms = 0.8 * min(measured[rung] for rung in rungs)
    started = time.monotonic()
    life.policy(latency_ms=objective_ms, reprune=True, reprune_min_interval_s=0.0)
    new = life.site.wait("re-cut rung", lambda: next(iter(set(life.rungs()) - set(rungs)), ""), 300, life.board)
    record("ask_to_rung_s", time.monotonic() - started)
    with life.site.host.client() as client:
        row = client.reprunes()[0]
        assert row["rung"] == new
        record("recut_bytes", int(row["bytes"]))
        client.pin(DEVICE, new)
    life.wait_for_rung("the re-cut rung", lambda rung: rung == new, 120)
    x, y = digits()
    answers, rung = infer(life.address, x[700:740])
    assert rung == new
    assert np.mean(np.equal(answers, y[700:740])) >= 0.6


def _reading(life: Life, metric: str) -> Any:
    with life.site.host.client() as client:
        samples = client.telemetry(DEVICE, after=-1, limit=1)
    return samples[-1]["readings"].get(metric, {}).get("value") if samples else None


def _available_mb(board: Board) -> float:
    return int(board.run("awk '/MemAvailable/ {print $2}' /proc/meminfo")) / 1024
