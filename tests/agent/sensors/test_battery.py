from __future__ import annotations

import pytest

from secateur_agent.sensors.battery import Battery

BATTERY = "sys/class/power_supply/battery"
PHONE = {
    f"{BATTERY}/type": "Battery\n",
    f"{BATTERY}/status": "Discharging\n",
    f"{BATTERY}/capacity": "71\n",
    f"{BATTERY}/current_now": "-500000\n",
    f"{BATTERY}/voltage_now": "4000000\n",
    f"{BATTERY}/charge_now": "3000000\n",
    f"{BATTERY}/charge_full": "4500000\n",
    f"{BATTERY}/temp": "312\n",
}


def test_phone_battery_from_charge_current_and_voltage(tree):
    tree.write(PHONE)
    readings = Battery(tree.root).read()
    assert readings["battery_percent"].value == 71
    assert readings["battery_charging"].value == 0
    assert readings["battery_power_mw"].value == 2000
    assert readings["battery_energy_mwh"].value == 12000
    assert readings["battery_energy_mwh"].quality == "estimated"
    assert readings["battery_capacity_mwh"].value == 18000
    assert readings["battery_temperature_c"].value == 31.2


def test_laptop_battery_from_energy_and_power(tree):
    tree.write(
        PHONE
        | {
            f"{BATTERY}/power_now": "8500000\n",
            f"{BATTERY}/energy_now": "25000000\n",
            f"{BATTERY}/energy_full": "50000000\n",
        }
    )
    readings = Battery(tree.root).read()
    assert readings["battery_power_mw"].value == 8500
    assert readings["battery_energy_mwh"].value == 25000
    assert readings["battery_capacity_mwh"].value == 50000
    assert readings["battery_capacity_mwh"].quality == "measured"


@pytest.mark.parametrize("driver_sign", ["", "-"], ids=["driver says plus", "driver says minus"])
@pytest.mark.parametrize(("status", "power_mw"), [("Discharging", 2000), ("Charging", -2000), ("Full", -2000)])
def test_power_is_positive_while_draining_whatever_sign_the_driver_uses(tree, driver_sign, status, power_mw):
    tree.write(PHONE | {f"{BATTERY}/current_now": f"{driver_sign}500000", f"{BATTERY}/status": status})
    assert Battery(tree.root).read()["battery_power_mw"].value == power_mw


def test_unknown_status_leaves_the_direction_an_estimate(tree):
    tree.write(PHONE | {f"{BATTERY}/status": "Unknown"})
    readings = Battery(tree.root).read()
    assert readings["battery_charging"].value is None
    assert (readings["battery_power_mw"].value, readings["battery_power_mw"].quality) == (2000, "estimated")


def test_a_driver_that_gives_zero_current_while_discharging_does_not_measure(tree):
    tree.write(PHONE | {f"{BATTERY}/current_now": "0"})
    reading = Battery(tree.root).read()["battery_power_mw"]
    assert reading.value is None
    assert "does not measure" in reading.note


@pytest.mark.parametrize(("status", "external"), [("Charging", 1), ("Full", 1), ("Not charging", 1), ("Discharging", 0)])
def test_charging_tells_who_carries_the_load(tree, status, external):
    tree.write(PHONE | {f"{BATTERY}/status": status})
    assert Battery(tree.root).read()["battery_charging"].value == external


def test_charger_and_mouse_are_not_the_battery(tree):
    tree.write(
        {
            "sys/class/power_supply/AC/type": "Mains",
            "sys/class/power_supply/AC/capacity": "1",
            "sys/class/power_supply/a_mouse/type": "Battery",
            "sys/class/power_supply/a_mouse/scope": "Device",
            "sys/class/power_supply/a_mouse/capacity": "2",
        }
    )
    assert Battery(tree.root).read()["battery_percent"].value is None
    tree.write(PHONE)
    assert Battery(tree.root).read()["battery_percent"].value == 71


def test_board_without_a_battery_has_every_metric_unavailable(tree):
    readings = Battery(tree.root).read()
    assert set(readings) == set(Battery.metrics)
    assert {reading.note for reading in readings.values()} == {"no battery"}


@pytest.mark.parametrize("missing", ["capacity", "status", "voltage_now", "temp", "charge_full", "current_now"])
def test_one_denied_file_leaves_what_does_not_need_it(tree, missing):
    tree.write(PHONE)
    tree.switch_off(f"{BATTERY}/{missing}")
    readings = Battery(tree.root).read()
    assert set(readings) == set(Battery.metrics)
    assert any(reading.value is not None for reading in readings.values())
    assert any(reading.value is None or reading.quality == "estimated" for reading in readings.values())
