from __future__ import annotations

from secateur_agent.sensors import discover
from secateur_agent.sensors.battery import Battery
from secateur_agent.sensors.process import ProcessMemory
from secateur_agent.sensors.sensor import registered_sensors


def test_defining_a_subclass_registers_it():
    assert Battery in registered_sensors()


def test_a_sensor_that_needs_more_than_a_root_stays_out():
    assert ProcessMemory not in registered_sensors()


def test_every_source_is_found_once_and_has_its_own_name(tmp_path):
    names = [sensor.name for sensor in discover(tmp_path)]
    assert names == sorted(set(names))
    expected = {"battery", "cpu", "ina2xx", "ina3221", "memory", "pressure", "rapl", "rpi_throttled", "thermal"}
    assert expected <= set(names)
