"""Pressure stall information: the share of time in which tasks waited for memory or the processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, unavailable
from secateur_agent.sensors.sensor import Sensor
from secateur_agent.sensors.tree import parse_number

_DIRECTORY = "proc/pressure"
_OFF = "the kernel keeps no pressure information: boot it with psi=1"
_METRICS = {
    "psi_memory_some_avg10": ("memory", "some"),
    "psi_memory_full_avg10": ("memory", "full"),
    "psi_cpu_some_avg10": ("cpu", "some"),
}


class Pressure(Sensor):
    """Averages over 10 s in percent of time: some tasks waited, or all did (`full`)."""

    name = "pressure"
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(_METRICS, "%")

    def read(self) -> dict[str, Reading]:
        """Returns: three averages."""
        return {metric: self._average(resource, line) for metric, (resource, line) in _METRICS.items()}

    def _average(self, resource: str, line: str) -> Reading:
        source = f"/{_DIRECTORY}/{resource}"
        try:
            text = self.tree.text(f"{_DIRECTORY}/{resource}")
        except OSError:  # absent, or present and refusing (EOPNOTSUPP): in both cases it was not switched on
            return unavailable("%", source, _OFF)
        return attempt("%", source, lambda: _avg10(text, line))


def _avg10(text: str, wanted: str) -> float:
    for line in text.splitlines():
        kind, _, fields = line.partition(" ")
        if kind != wanted:
            continue
        for field in fields.split():
            key, _, value = field.partition("=")
            if key == "avg10":
                percent = parse_number(value)
                if not 0 <= percent <= 100:
                    raise ValueError(f"{percent:g} is not a percentage")
                return percent
    raise ValueError(f"no avg10 in a line {wanted!r}")
