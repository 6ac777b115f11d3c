"""Power of a board with an INA219, INA226 or relative wired into its supply."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, unavailable
from secateur_agent.sensors.sensor import Sensor

_HWMON = "sys/class/hwmon"
_CHIPS = ("ina2xx", "ina219", "ina220", "ina226", "ina230", "ina231", "ina260")


class Ina2xx(Sensor):
    """`power_mw` of the first such chip: it is taken to measure the supply, as these are added for that purpose."""

    name = "ina2xx"
    metrics: ClassVar[Mapping[str, str]] = {"power_mw": "mW"}

    def read(self) -> dict[str, Reading]:
        """Returns: one reading."""
        for hwmon in self.tree.children(_HWMON):
            directory = f"{_HWMON}/{hwmon}"
            try:
                chip = self.tree.text(f"{directory}/name")
            except OSError:
                continue
            if chip in _CHIPS:
                return {"power_mw": attempt("mW", f"/{directory} ({chip})", partial(self._milliwatts, directory))}
        return {"power_mw": unavailable("mW", f"/{_HWMON}", "no INA219 or INA226")}

    def _milliwatts(self, directory: str) -> float:
        if self.tree.exists(f"{directory}/power1_input"):
            power_mw = self.tree.number(f"{directory}/power1_input") / 1000
        else:
            power_mw = self.tree.number(f"{directory}/in1_input") * self.tree.number(f"{directory}/curr1_input") / 1000
        if power_mw < 0:
            raise ValueError(f"{power_mw:g} mW is negative: the shunt is wired the other way round")
        return power_mw
