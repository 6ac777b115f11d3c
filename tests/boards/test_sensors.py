"""The agent's sensors read what a board's kernel shows: stand-ins of the kernel for hardware, by the path of real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.boards.board import Board
from tests.boards.build_cache import BUILD
from tests.boards.conftest import Record
from tests.boards.device_environment import environment_archive, part_of
from tests.boards.hardware import set_battery, set_power_rails

_READ = """
import json
from secateur_agent.sensors.registry import discover, read_all
print(json.dumps({name: [reading.value, reading.note] for name, reading in read_all(discover()).items()}))
"""


@pytest.fixture(scope="module")
def board(new_board: Callable[..., Board]) -> Iterator[Board]:
    packages = part_of(environment_archive(BUILD), ("msgspec", "secateur_agent"))
    with new_board() as board:
        board.power_on()
        board.wait_until("systemctl is-system-running | grep -qx running", 240)
        board.write("/root/packages.tar.gz", packages)
        board.run("cd /root && tar -xf packages.tar.gz", limit_s=120)
        board.write("/root/read.py", _READ.encode())
        yield board


def test_a_battery_is_added_drains_and_is_charged(board: Board) -> None:
    assert _readings(board)["battery_percent"] is None
    set_battery(board, 42, "discharging", milliwatts=1850)
    found = _readings(board)
    assert (found["battery_percent"], found["battery_charging"]) == (42, 0)
    assert found["battery_power_mw"] == pytest.approx(1850, rel=0.01)
    assert found["battery_energy_mwh"] == pytest.approx(0.42 * 5000 * 3.7, rel=0.01)
    assert found["battery_capacity_mwh"] == pytest.approx(5000 * 3.7, rel=0.01)
    set_battery(board, 80, "charging")
    found = _readings(board)
    assert (found["battery_percent"], found["battery_charging"]) == (80, 1)


def test_power_of_the_rails_is_read_through_the_driver_of_the_ina3221(board: Board) -> None:
    assert _readings(board)["power_mw"] is None
    set_power_rails(board, {"VDD_IN": (5.0, 1.2), "VDD_SOC": (5.0, 0.304)})
    found = _readings(board)
    assert found["power_mw"] == found["rail_vdd_in_mw"] == pytest.approx(6000, rel=0.01)
    assert found["rail_vdd_soc_mw"] == pytest.approx(1520, rel=0.01)
    set_power_rails(board, {"VDD_IN": (4.896, 2.0)})
    assert _readings(board)["power_mw"] == pytest.approx(9792, rel=0.01)


def test_the_balloon_takes_memory_that_the_sensor_misses(board: Board, record: Record) -> None:
    before = _readings(board)["mem_available_mb"]
    assert before is not None
    record("available_before_mb", before)
    board.set_balloon_mb(512)
    board.wait_until("test $(awk '/MemAvailable/ {print $2}' /proc/meminfo) -lt $((512 * 1024))", 60)
    after = _readings(board)["mem_available_mb"]
    assert after is not None
    record("available_after_mb", after)
    assert after < before - 350
    board.set_balloon_mb(1024)
    board.wait_until(f"test $(awk '/MemAvailable/ {{print $2}}' /proc/meminfo) -gt {int(before - 50) * 1024}", 60)


def _readings(board: Board) -> dict[str, float | None]:
    printed = board.run("cd /root && PYTHONPATH=site-packages python3 -B read.py", limit_s=120)
    return {name: value for name, (value, _) in json.loads(printed.splitlines()[-1]).items()}
