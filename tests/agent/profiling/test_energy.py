"""Energy from a power sensor on a recorded tree; without one it is not made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur_agent.profiling import energy
from secateur_agent.profiling.energy import measure_energy


def board(root: Path, power_mw: float) -> None:
    folder = root / "sys/class/hwmon/hwmon0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text("ina226")
    (folder / "power1_input").write_text(str(round(power_mw * 1000)))


def test_what_the_board_draws_more_is_shared_among_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(energy._METRICS, "power_mw", 0.4)
    board(tmp_path, 2000.0)
    power, busy = tmp_path / "sys/class/hwmon/hwmon0/power1_input", tmp_path / "busy"
    busy.write_text("5000000")
    runs = 0

    def run() -> None:
        nonlocal runs
        if not runs:
            busy.replace(power)  # in one step: a reader never finds an empty file
        runs += 1
        energy.time.sleep(0.01)

    found = measure_energy(run, tmp_path)
    assert found.energy_mj is not None
    assert found.energy_mj * runs >= 3000 * 0.4  # 3 W for at least so long
    assert "power_mw (/sys/class/hwmon/hwmon0 (ina226)): 5000 mW under load, 2000 mW idle" in found.source


def test_no_sensor_or_one_that_shows_no_load_gives_no_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(energy._METRICS, "power_mw", 0.4)
    assert measure_energy(lambda: None, tmp_path) == (None, "no sensor measures power")
    board(tmp_path, 2000.0)
    found = measure_energy(lambda: energy.time.sleep(0.01), tmp_path)
    assert found.energy_mj is None
    assert "no higher under load (2000 mW) than idle (2000 mW)" in found.source
