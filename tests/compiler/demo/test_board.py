"""What a replayed board says is what the agent's own sensors read."""

from __future__ import annotations

from pathlib import Path

from secateur.demo.board import Board
from secateur_agent.sensors import discover, read_all


def readings(board: Board) -> dict[str, float | None]:
    return {name: reading.value for name, reading in read_all(discover(board.root)).items()}


def test_a_hot_board_shows_temperature_and_clock_limit(tmp_path: Path) -> None:
    board = Board(tmp_path, 1500, memory_mb=4096)
    board.temperature(84)
    board.clock_limit(600)
    found = readings(board)
    assert (found["temperature_c"], found["cpu_freq_limit_mhz"], found["cpu_freq_max_mhz"]) == (84, 600, 1500)
    assert found["mem_total_mb"] == 4096


def test_a_battery_drains_and_charges(tmp_path: Path) -> None:
    board = Board(tmp_path, 2400)
    board.battery(5.25, 10.0, 430.0, charging=False)
    found = readings(board)
    assert (found["battery_energy_mwh"], found["battery_capacity_mwh"], found["battery_charging"]) == (5.25, 10.0, 0)
    assert found["battery_power_mw"] == 430
    board.battery(9.0, 10.0, 430.0, charging=True)
    assert readings(board)["battery_charging"] == 1


def test_a_rail_shows_the_power_of_the_board(tmp_path: Path) -> None:
    board = Board(tmp_path, 1500)
    board.rail(5000)
    assert readings(board)["power_mw"] == 5000
