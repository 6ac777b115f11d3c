"""Power rails of a Jetson (JetPack 5 and later): the INA3221's three channels as hwmon shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, unavailable
from secateur_agent.sensors.sensor import Sensor
from secateur_agent.sensors.tree import metric_slug

_DRIVER = "sys/bus/i2c/drivers/ina3221"
_CHANNELS = (1, 2, 3)
_TOTAL = "VDD_IN"


class Ina3221(Sensor):
    """One `rail_<label>_mw` per labelled channel (`rail_vdd_in_mw`); `power_mw`, the whole module, is VDD_IN."""

    name = "ina3221"
    metrics: ClassVar[Mapping[str, str]] = {"power_mw": "mW"}

    def read(self) -> dict[str, Reading]:
        """Returns: the rails found; boards without VDD_IN have no total, for their other rails overlap."""
        readings: dict[str, Reading] = {}
        total = unavailable("mW", f"/{_DRIVER}", "no INA3221")
        for directory in self._hwmon_directories():
            if total.note == "no INA3221":
                total = unavailable("mW", f"/{_DRIVER}", f"no rail is labelled {_TOTAL}")
            for channel in _CHANNELS:
                try:
                    label = self.tree.text(f"{directory}/in{channel}_label")
                except OSError:
                    continue  # the channel is not connected on this board
                reading = self._rail(directory, channel)
                readings[f"rail_{metric_slug(label) or f'in{channel}'}_mw"] = reading
                if label == _TOTAL:
                    total = reading
        return {"power_mw": total, **readings}

    def _hwmon_directories(self) -> list[str]:
        return [
            f"{_DRIVER}/{device}/hwmon/{hwmon}"
            for device in self.tree.children(_DRIVER)
            for hwmon in self.tree.children(f"{_DRIVER}/{device}/hwmon")
            if hwmon.startswith("hwmon")
        ]

    def _rail(self, directory: str, channel: int) -> Reading:
        return attempt("mW", f"/{directory}/in{channel}_input", lambda: self._milliwatts(directory, channel))

    def _milliwatts(self, directory: str, channel: int) -> float:
        voltage_mv = self.tree.number(f"{directory}/in{channel}_input")
        current_ma = self.tree.number(f"{directory}/curr{channel}_input")
        return voltage_mv * current_ma / 1000
