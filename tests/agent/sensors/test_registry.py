from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.sensors import Reading, Sensor, discover, read_all
from secateur_agent.sensors.reading import estimated, measured, unavailable

FREQUENCY = "sys/devices/system/cpu/cpu0/cpufreq"
ZONE = "sys/class/thermal/thermal_zone0"
SUPPLY = "sys/class/power_supply/BAT0"
INA3221 = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
RAPL = "sys/class/powercap/intel-rapl:0"

BOARD = {
    "proc/meminfo": "MemTotal: 3884372 kB\nMemAvailable: 2097152 kB\n",
    "proc/stat": "cpu  1 2 3 4 5 6 7 8 9 10\n",
    "proc/loadavg": "0.52 0.58 0.59 1/467 12345\n",
    "proc/pressure/memory": "some avg10=1.50 total=1\nfull avg10=1.00 total=1\n",
    "proc/pressure/cpu": "some avg10=2.00 total=0\n",
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.max": "536870912\n",
    "sys/fs/cgroup/memory.current": "236870912\n",
    "sys/fs/cgroup/memory.stat": "inactive_file 5\n",
    f"{FREQUENCY}/scaling_cur_freq": "600000\n",
    f"{FREQUENCY}/scaling_max_freq": "1500000\n",
    f"{FREQUENCY}/cpuinfo_max_freq": "1500000\n",
    f"{ZONE}/type": "cpu-thermal\n",
    f"{ZONE}/temp": "51000\n",
    f"{SUPPLY}/type": "Battery\n",
    f"{SUPPLY}/scope": "System\n",
    f"{SUPPLY}/status": "Discharging\n",
    f"{SUPPLY}/capacity": "71\n",
    f"{SUPPLY}/current_now": "500000\n",
    f"{SUPPLY}/voltage_now": "4000000\n",
    f"{SUPPLY}/charge_now": "3000000\n",
    f"{SUPPLY}/charge_full": "4500000\n",
    f"{SUPPLY}/temp": "312\n",
    f"{INA3221}/in1_label": "VDD_IN\n",
    f"{INA3221}/in1_input": "5000\n",
    f"{INA3221}/curr1_input": "1000\n",
    "sys/class/hwmon/hwmon2/name": "ina219\n",
    "sys/class/hwmon/hwmon2/power1_input": "3140000\n",
    "sys/class/hwmon/hwmon3/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon3/in0_lcrit_alarm": "0\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    f"{RAPL}/name": "package-0\n",
    f"{RAPL}/energy_uj": "1000\n",
    f"{RAPL}/max_energy_range_uj": "262143328850\n",
}
METRICS = set(read_all(discover(Path("/nonexistent"))))


class Scripted(Sensor, register=False):
    name = "scripted"
    metrics: ClassVar[Mapping[str, str]] = {"power_mw": "mW"}

    def __init__(self, readings: dict[str, Reading] | Exception) -> None:
        super().__init__()
        self._readings = readings

    def read(self) -> dict[str, Reading]:
        if isinstance(self._readings, Exception):
            raise self._readings
        return self._readings


def assert_sound(readings: dict[str, Reading]) -> None:
    assert readings.keys() >= METRICS
    for metric, reading in readings.items():
        assert (reading.value is None) == (reading.quality == "unavailable"), metric
        if reading.value is None:
            assert reading.note, metric
        else:
            assert math.isfinite(reading.value), metric


@pytest.mark.parametrize("missing", [None, *BOARD])
def test_one_missing_sysfs_file_never_takes_the_agent_down(tree, missing):
    """https://github.com/rbonghi/jetson_stats/issues/484: the service died of one file that a board lacked."""
    tree.write({path: content for path, content in BOARD.items() if path != missing})
    sensors = discover(tree.root)
    read_all(sensors)
    readings = read_all(sensors)
    assert_sound(readings)
    lost = {metric for metric in METRICS if readings[metric].value is None}
    # cpu_percent and power_mw_rapl: the counters of a tree that stands still do not advance, or give 0 mW.
    assert len(lost - {"cpu_percent", "power_mw_rapl"}) <= (7 if missing else 0), lost


def test_every_metric_of_a_complete_board_is_measured(tree):
    tree.write(BOARD)
    readings = read_all(discover(tree.root))
    assert readings["mem_available_mb"].value == 2048
    assert readings["temperature_c"].value == 51
    assert readings["battery_power_mw"].value == 2000
    assert readings["throttled_now"].value == 0
    assert readings["power_mw"].value in (5000, 3140)


kernel_text = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="0123456789-+.exinfa \n:=_", max_size=30).map(str.encode),
    st.sampled_from([b"", b"-1", b"0", b"nan", b"inf", b"99999999999999999999", b"-99999999999999999999", b"max"]),
    st.sampled_from([content.encode() for content in BOARD.values()]),
)

garbled_files = st.dictionaries(st.sampled_from(sorted(BOARD)), kernel_text, max_size=12)


@settings(deadline=None, max_examples=150)
@given(contents=st.tuples(garbled_files, garbled_files))
def test_arbitrary_file_content_gives_unavailable_or_finite_numbers(contents):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for path, text in BOARD.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        sensors = discover(root)
        for garbled in contents:
            for path, content in garbled.items():
                (root / path).write_bytes(content)
            readings = {}
            for sensor in sensors:
                readings.update(sensor.read())  # not through read_all: no sensor may lean on its safety net
            assert_sound(readings)


@pytest.mark.parametrize("error", [OSError(5, "I/O error"), KeyError("x"), RuntimeError(), UnicodeError("bad")])
def test_a_sensor_that_raises_is_unavailable_and_hurts_no_other(error):
    healthy = Scripted({"load1": measured(1.0, "processes", "x")})
    readings = read_all([Scripted(error), healthy])
    assert readings["load1"].value == 1
    assert readings["power_mw"].value is None
    assert type(error).__name__ in readings["power_mw"].note


def test_the_better_quality_of_two_instruments_wins_in_either_order():
    sensors = [
        Scripted({"power_mw": unavailable("mW", "a", "no chip")}),
        Scripted({"power_mw": measured(5.0, "mW", "b")}),
        Scripted({"power_mw": estimated(9.0, "mW", "c", "guess")}),
    ]
    assert read_all(sensors)["power_mw"].source == "b"
    assert read_all(reversed(sensors))["power_mw"].source == "b"


def test_when_no_instrument_gives_a_metric_all_reasons_are_told(tmp_path):
    note = read_all(discover(tmp_path))["power_mw"].note
    assert "INA219" in note
    assert "INA3221" in note


def test_a_careless_sensor_cannot_report_nan():
    assert read_all([Scripted({"power_mw": Reading(math.nan, "mW", "x", "measured")})])["power_mw"].value is None


def test_this_machine_is_read_without_error():
    assert_sound(read_all(discover(Path("/"))))
