from __future__ import annotations

from secateur_agent.sensors.ina2xx import Ina2xx

OTHER = {"sys/class/hwmon/hwmon0/name": "cpu_thermal\n", "sys/class/hwmon/hwmon0/power1_input": "1\n"}


def test_power_register_is_in_microwatts(tree):
    tree.write(OTHER | {"sys/class/hwmon/hwmon2/name": "ina219\n", "sys/class/hwmon/hwmon2/power1_input": "3140000\n"})
    reading = Ina2xx(tree.root).read()["power_mw"]
    assert (reading.value, reading.unit, reading.quality) == (3140, "mW", "measured")
    assert "ina219" in reading.source


def test_without_power_register_it_is_voltage_times_current(tree):
    directory = "sys/class/hwmon/hwmon10"
    tree.write({f"{directory}/name": "ina226", f"{directory}/in1_input": "5100", f"{directory}/curr1_input": "600"})
    assert Ina2xx(tree.root).read()["power_mw"].value == 3060


def test_first_chip_in_natural_order_measures_the_supply(tree):
    for index, microwatts in ((10, "2000"), (9, "1000")):
        directory = f"sys/class/hwmon/hwmon{index}"
        tree.write({f"{directory}/name": "ina2xx", f"{directory}/power1_input": microwatts})
    assert Ina2xx(tree.root).read()["power_mw"].value == 1


def test_shunt_wired_backwards_is_named(tree):
    directory = "sys/class/hwmon/hwmon1"
    tree.write({f"{directory}/name": "ina219", f"{directory}/in1_input": "5100", f"{directory}/curr1_input": "-600"})
    reading = Ina2xx(tree.root).read()["power_mw"]
    assert reading.value is None
    assert "other way round" in reading.note


def test_no_chip_is_unavailable(tree):
    tree.write(OTHER)
    assert Ina2xx(tree.root).read()["power_mw"].value is None
