from __future__ import annotations

from secateur_agent.sensors.thermal import Thermal


def zone(index: int, kind: str, temp: str) -> dict[str, str]:
    directory = f"sys/class/thermal/thermal_zone{index}"
    return {f"{directory}/type": kind + "\n", f"{directory}/temp": temp + "\n"}


def test_hottest_processor_zone_is_the_temperature(tree):
    tree.write(zone(0, "cpu-thermal", "51234") | zone(1, "gpu-thermal", "63000") | zone(2, "battery", "70000"))
    readings = Thermal(tree.root).read()
    assert readings["temperature_c"].value == 63
    assert readings["temperature_cpu_thermal_c"].value == 51.234
    assert readings["temperature_battery_c"].value == 70


def test_without_a_zone_named_like_a_processor_the_hottest_of_all_counts(tree):
    tree.write(zone(0, "acpitz", "40000") | zone(1, "acpitz", "45000") | zone(2, "board", "41000"))
    readings = Thermal(tree.root).read()
    assert readings["temperature_c"].value == 45
    assert readings["temperature_acpitz_c"].value == 45


def test_zone_that_is_off_does_not_hide_the_others(tree):
    tree.write(zone(0, "cpu-thermal", "50000") | zone(1, "cv0-thermal", "0"))
    tree.switch_off("sys/class/thermal/thermal_zone1/temp")
    readings = Thermal(tree.root).read()
    assert readings["temperature_c"].value == 50
    assert readings["temperature_cv0_thermal_c"].value is None


def test_sleeping_sensor_of_minus_273_degrees_is_refused(tree):
    tree.write(zone(0, "cpu", "-273000") | zone(1, "soc", "48000"))
    readings = Thermal(tree.root).read()
    assert readings["temperature_cpu_c"].value is None
    assert readings["temperature_c"].value == 48


def test_below_freezing_is_a_temperature(tree):
    tree.write(zone(0, "cpu", "-12500"))
    assert Thermal(tree.root).read()["temperature_c"].value == -12.5


def test_a_phone_with_a_hundred_zones_reports_a_bounded_number_and_the_true_maximum(tree):
    for index in range(100):
        tree.write(zone(index, f"cpu-{index}", str(30000 + index * 100)))
    readings = Thermal(tree.root).read()
    assert len(readings) < 30
    assert readings["temperature_c"].value == 39.9


def test_no_zone_at_all_is_unavailable(tree):
    reading = Thermal(tree.root).read()["temperature_c"]
    assert (reading.value, reading.note) == (None, "no thermal zone")
