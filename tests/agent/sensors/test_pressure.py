from __future__ import annotations

from secateur_agent.sensors.pressure import Pressure

MEMORY = "some avg10=12.50 avg60=3.21 avg300=0.80 total=1\nfull avg10=4.00 avg60=1.10 avg300=0.20 total=1\n"


def test_ten_second_averages(tree):
    tree.write({"proc/pressure/memory": MEMORY, "proc/pressure/cpu": "some avg10=0.00 avg60=0 avg300=0 total=0\n"})
    readings = Pressure(tree.root).read()
    assert readings["psi_memory_some_avg10"].value == 12.5
    assert readings["psi_memory_full_avg10"].value == 4
    assert readings["psi_cpu_some_avg10"].value == 0
    assert readings["psi_cpu_some_avg10"].quality == "measured"


def test_kernel_without_pressure_tells_how_to_switch_it_on(tree):
    for reading in Pressure(tree.root).read().values():
        assert reading.value is None
        assert "psi=1" in reading.note


def test_file_that_refuses_to_be_read_means_switched_off_too(tree):
    tree.write({"proc/pressure/memory": MEMORY})
    tree.switch_off("proc/pressure/cpu")
    readings = Pressure(tree.root).read()
    assert readings["psi_memory_some_avg10"].value == 12.5
    assert "psi=1" in readings["psi_cpu_some_avg10"].note


def test_missing_full_line_hurts_only_its_own_reading(tree):
    tree.write({"proc/pressure/memory": MEMORY.splitlines()[0]})
    readings = Pressure(tree.root).read()
    assert readings["psi_memory_some_avg10"].value == 12.5
    assert readings["psi_memory_full_avg10"].value is None


def test_more_than_all_of_the_time_is_refused(tree):
    tree.write({"proc/pressure/cpu": "some avg10=100.01 avg60=0 avg300=0 total=0"})
    assert Pressure(tree.root).read()["psi_cpu_some_avg10"].value is None
