"""What a Raspberry Pi's firmware says about heat and supply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, unavailable
from secateur_agent.sensors.sensor import Sensor

_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_HWMON = "sys/class/hwmon"
_UNDERVOLTAGE = 1 << 0
# Frequency capped, throttled, soft temperature limit: in each the clock is below what was asked for.
_SLOWED = 1 << 1 | 1 << 2 | 1 << 3
_HEX = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})")


class RpiThrottled(Sensor):
    """`throttled_now` and `undervoltage_now`, 1 or 0. Bits that only say "has occurred" are left out."""

    name = "rpi_throttled"
    metrics: ClassVar[Mapping[str, str]] = {"throttled_now": "bool", "undervoltage_now": "bool"}

    def read(self) -> dict[str, Reading]:
        """Returns: from the firmware; under-voltage also from the kernel's alarm where the firmware is silent."""
        undervoltage = self._bits(_UNDERVOLTAGE)
        if undervoltage.value is None:
            undervoltage = self._alarm(undervoltage)
        return {"throttled_now": self._bits(_SLOWED), "undervoltage_now": undervoltage}

    def _bits(self, mask: int) -> Reading:
        if not self.tree.exists(_FIRMWARE):
            return unavailable("bool", f"/{_FIRMWARE}", "no Raspberry Pi firmware")
        return attempt("bool", f"/{_FIRMWARE}", lambda: float(bool(self._flags() & mask)))

    def _flags(self) -> int:
        text = self.tree.text(_FIRMWARE)
        match = _HEX.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:40]!a} is not a hexadecimal number")
        return int(match[1], 16)

    def _alarm(self, otherwise: Reading) -> Reading:
        for hwmon in self.tree.children(_HWMON):
            directory = f"{_HWMON}/{hwmon}"
            try:
                if self.tree.text(f"{directory}/name") != "rpi_volt":
                    continue
            except OSError:
                continue
            path = f"{directory}/in0_lcrit_alarm"
            return attempt("bool", f"/{path}", partial(self._raised, path))
        return otherwise

    def _raised(self, path: str) -> float:
        return float(self.tree.number(path) != 0)
