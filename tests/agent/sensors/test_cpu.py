from __future__ import annotations

import pytest

from secateur_agent.sensors.cpu import Cpu

FREQUENCY = "sys/devices/system/cpu/cpu0/cpufreq"


def stat(user: int, idle: int, iowait: int = 0, guest: int = 0) -> dict[str, str]:
    return {"proc/stat": f"cpu  {user} 0 0 {idle} {iowait} 0 0 0 {guest} 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n"}


def test_busy_share_is_between_two_reads(tree):
    tree.write(stat(user=100, idle=900))
    cpu = Cpu(tree.root)
    first = cpu.read()["cpu_percent"]
    assert first.value is None
    assert "takes two" in first.note
    tree.write(stat(user=125, idle=950, iowait=25))
    assert cpu.read()["cpu_percent"].value == pytest.approx(25)


def test_guest_time_is_not_counted_twice(tree):
    tree.write(stat(user=0, idle=0))
    cpu = Cpu(tree.root)
    cpu.read()
    tree.write(stat(user=50, idle=50, guest=50))
    assert cpu.read()["cpu_percent"].value == pytest.approx(50)


@pytest.mark.parametrize("ticks", [(100, 900), (50, 400)], ids=["standing still", "gone backwards"])
def test_counters_that_do_not_advance_give_no_number(tree, ticks):
    tree.write(stat(100, 900))
    cpu = Cpu(tree.root)
    cpu.read()
    tree.write(stat(*ticks))
    assert cpu.read()["cpu_percent"].value is None


def test_frequencies_are_in_megahertz(tree):
    tree.write(
        {
            f"{FREQUENCY}/scaling_cur_freq": "600000\n",
            f"{FREQUENCY}/scaling_max_freq": "1000000\n",
            f"{FREQUENCY}/cpuinfo_max_freq": "1500000\n",
        }
    )
    readings = Cpu(tree.root).read()
    assert readings["cpu_freq_mhz"].value == 600
    assert readings["cpu_freq_limit_mhz"].value == 1000
    assert readings["cpu_freq_max_mhz"].value == 1500


def test_without_the_hardware_maximum_the_present_limit_stands_in_as_an_estimate(tree):
    tree.write({f"{FREQUENCY}/scaling_max_freq": "1000000\n"})
    reading = Cpu(tree.root).read()["cpu_freq_max_mhz"]
    assert (reading.value, reading.quality) == (1000, "estimated")


def test_a_stopped_clock_is_unavailable_and_not_zero(tree):
    tree.write({f"{FREQUENCY}/scaling_cur_freq": "0\n"})
    assert Cpu(tree.root).read()["cpu_freq_mhz"].value is None


def test_load_average_over_one_minute(tree):
    tree.write({"proc/loadavg": "0.52 0.58 0.59 1/467 12345\n"})
    assert Cpu(tree.root).read()["load1"].value == 0.52
