"""Heat and clock while something is timed, on a recorded tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur_agent.profiling.conditions import Watch, merged, slowdown
from secateur_agent.protocol.timings import Conditions

FREQUENCY = "sys/devices/system/cpu/cpu0/cpufreq"


def write(root: Path, files: dict[str, str]) -> None:
    for relative, content in files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def board(root: Path, celsius: float, mhz: int, limit_mhz: int) -> None:
    write(
        root,
        {
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": str(round(celsius * 1000)),
            f"{FREQUENCY}/scaling_cur_freq": str(mhz * 1000),
            f"{FREQUENCY}/scaling_max_freq": str(limit_mhz * 1000),
        },
    )


def test_a_board_that_gets_too_hot_is_noticed(tmp_path: Path) -> None:
    watch = Watch(tmp_path, throttle_c=80.0)
    board(tmp_path, 71.0, 1800, 1800)
    watch.look()
    assert watch.slowed == ""
    board(tmp_path, 81.2, 1500, 1800)
    watch.look()
    assert watch.slowed == "81 °C, and the board slows down from 80 °C"
    assert merged(watch.seen) == Conditions(temperature_c=81.2, cpu_freq_mhz=1500.0, cpu_freq_limit_mhz=1800.0)


def test_a_board_that_tells_nothing_is_not_called_throttled(tmp_path: Path) -> None:
    watch = Watch(tmp_path, throttle_c=80.0)
    watch.look()
    assert (watch.slowed, merged(watch.seen)) == ("", Conditions())


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([Conditions(throttled=False), Conditions(throttled=True)], "the firmware throttled the processor"),
        (
            [Conditions(cpu_freq_limit_mhz=1800), Conditions(cpu_freq_limit_mhz=1500)],
            "the limit of the clock fell from 1800",
        ),
        ([Conditions(cpu_freq_mhz=1800), Conditions(cpu_freq_mhz=1200)], "the clock fell from 1800 to 1200 MHz"),
        ([Conditions(cpu_freq_mhz=1200), Conditions(cpu_freq_mhz=1800)], ""),
        ([Conditions(cpu_freq_mhz=4200), Conditions(cpu_freq_mhz=3600)], ""),
        ([], ""),
    ],
)
def test_what_counts_as_throttled(seen: list[Conditions], expected: str) -> None:
    found = slowdown(seen, 80.0)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)
