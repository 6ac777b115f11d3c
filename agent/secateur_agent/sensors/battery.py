"""The battery, from the kernel's power_supply class (Documentation/ABI/testing/sysfs-class-power)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, estimated, measured, reason, unavailable
from secateur_agent.sensors.sensor import Sensor

_SUPPLIES = "sys/class/power_supply"
_ON_EXTERNAL_POWER = {"Charging": True, "Full": True, "Not charging": True, "Discharging": False}
_MICRO_PER_MILLI = 1e3
_MICRO_MICRO_PER_MILLI = 1e9  # µA × µV → mW, µAh × µV → mWh


class Battery(Sensor):
    """The first battery that feeds the device (a mouse's battery has scope `Device` and is skipped).

    `battery_charging` is 1 on external power (charging, full or held) and 0 when the battery carries the load;
    `battery_power_mw` is positive while it drains, whatever sign the driver uses.
    """

    name = "battery"
    metrics: ClassVar[Mapping[str, str]] = {
        "battery_percent": "%",
        "battery_charging": "bool",
        "battery_power_mw": "mW",
        "battery_energy_mwh": "mWh",
        "battery_capacity_mwh": "mWh",
        "battery_temperature_c": "°C",
    }

    def read(self) -> dict[str, Reading]:
        """Returns: all metrics; all unavailable on a device without a battery."""
        supply = self._find()
        if supply is None:
            return {metric: unavailable(unit, f"/{_SUPPLIES}", "no battery") for metric, unit in self.metrics.items()}
        return {
            "battery_percent": attempt("%", f"/{supply}/capacity", lambda: self._percent(supply)),
            "battery_charging": attempt("bool", f"/{supply}/status", lambda: self._external_power(supply)),
            "battery_power_mw": self._power(supply),
            "battery_energy_mwh": self._energy(supply, "now"),
            "battery_capacity_mwh": self._energy(supply, "full"),
            "battery_temperature_c": attempt("°C", f"/{supply}/temp", lambda: self._celsius(supply)),
        }

    def _find(self) -> str | None:
        for name in self.tree.children(_SUPPLIES):
            supply = f"{_SUPPLIES}/{name}"
            if self._text(f"{supply}/type") == "Battery" and self._text(f"{supply}/scope") != "Device":
                return supply
        return None

    def _text(self, relative: str) -> str:
        try:
            return self.tree.text(relative)
        except OSError:
            return ""

    def _percent(self, supply: str) -> float:
        percent = self.tree.number(f"{supply}/capacity")
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent:g} is not a percentage")
        return percent

    def _external_power(self, supply: str) -> float:
        status = self.tree.text(f"{supply}/status")
        if status not in _ON_EXTERNAL_POWER:
            raise ValueError(f"status {status[:40]!a}")
        return float(_ON_EXTERNAL_POWER[status])

    def _celsius(self, supply: str) -> float:
        celsius = self.tree.number(f"{supply}/temp") / 10
        if not -60 < celsius < 150:
            raise ValueError(f"{celsius:g} °C is not a temperature of a battery")
        return celsius

    def _power(self, supply: str) -> Reading:
        direct = self.tree.exists(f"{supply}/power_now")
        source = f"/{supply}/power_now" if direct else f"/{supply}/current_now"
        try:
            if direct:
                power_mw = self.tree.number(f"{supply}/power_now") / _MICRO_PER_MILLI
            else:
                current_ua = self.tree.number(f"{supply}/current_now")
                power_mw = current_ua * self._microvolts(supply) / _MICRO_MICRO_PER_MILLI
        except (OSError, ValueError) as error:
            return unavailable("mW", source, reason(error))
        external = _ON_EXTERNAL_POWER.get(self._text(f"{supply}/status"))
        if external is None:
            # The kernel's convention is negative for discharging, but many phones invert it.
            return estimated(-power_mw + 0.0, "mW", source, "status unknown: direction taken from the driver's sign")
        if power_mw == 0 and not external:
            return unavailable("mW", source, "0 while discharging: the driver does not measure")
        return measured(abs(power_mw) * (-1 if external and power_mw else 1), "mW", source)

    def _energy(self, supply: str, state: str) -> Reading:
        source = f"/{supply}/energy_{state}"
        try:
            if self.tree.exists(f"{supply}/energy_{state}"):
                return measured(self._positive(f"{supply}/energy_{state}", state) / _MICRO_PER_MILLI, "mWh", source)
            source = f"/{supply}/charge_{state}"
            charge_uah = self._positive(f"{supply}/charge_{state}", state)
            energy_mwh = charge_uah * self._microvolts(supply) / _MICRO_MICRO_PER_MILLI
        except (OSError, ValueError) as error:
            return unavailable("mWh", source, reason(error))
        return estimated(energy_mwh, "mWh", source, "charge × present voltage")

    def _positive(self, relative: str, state: str) -> float:
        value = self.tree.number(relative)
        if value < 0 or (value == 0 and state == "full"):
            raise ValueError(f"{value:g} is not a content")
        return value

    def _microvolts(self, supply: str) -> float:
        voltage_uv = self.tree.number(f"{supply}/voltage_now")
        if voltage_uv <= 0:
            raise ValueError(f"voltage_now is {voltage_uv:g}")
        return voltage_uv
