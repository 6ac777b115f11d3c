"""Temperatures of the kernel's thermal zones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, unavailable
from secateur_agent.sensors.sensor import Sensor
from secateur_agent.sensors.tree import metric_slug

_ZONES = "sys/class/thermal"
_PROCESSOR = re.compile(r"cpu|soc|core|pkg|x86|tj|gpu|cluster", re.IGNORECASE)
# Phones declare up to a hundred zones; telemetry carries the first of them, and all count for the hottest.
_REPORTED_ZONES = 24


class Thermal(Sensor):
    """`temperature_c`, the hottest zone of the processor (of all zones if none is named like one), and one
    `temperature_<type>_c` per zone.
    """

    name = "thermal"
    metrics: ClassVar[Mapping[str, str]] = {"temperature_c": "°C"}

    def read(self) -> dict[str, Reading]:
        """Returns: a zone that is off or absurd is unavailable and does not count."""
        zones: dict[str, Reading] = {}
        for zone in self.tree.children(_ZONES):
            if not zone.startswith("thermal_zone"):
                continue
            label = metric_slug(self._label(zone)) or zone
            path = f"{_ZONES}/{zone}/temp"
            reading = attempt("°C", f"/{path}", partial(self._celsius, path))
            zones[label] = _hotter(zones[label], reading) if label in zones else reading
        readings = {f"temperature_{label}_c": reading for label, reading in list(zones.items())[:_REPORTED_ZONES]}
        return {"temperature_c": _hottest(zones), **readings}

    def _label(self, zone: str) -> str:
        try:
            return self.tree.text(f"{_ZONES}/{zone}/type")
        except OSError:
            return zone

    def _celsius(self, path: str) -> float:
        celsius = self.tree.number(path) / 1000
        if not -60 < celsius < 200:  # drivers report -273 °C or 2^31 for a sensor that is asleep
            raise ValueError(f"{celsius:g} °C is not a temperature of a running device")
        return celsius


def _hottest(zones: dict[str, Reading]) -> Reading:
    readable = {label: reading for label, reading in zones.items() if reading.value is not None}
    if not readable:
        return unavailable("°C", f"/{_ZONES}", "no thermal zone" if not zones else "no thermal zone can be read")
    processor = [reading for label, reading in readable.items() if _PROCESSOR.search(label)]
    hottest, *others = processor or list(readable.values())
    for reading in others:
        hottest = _hotter(hottest, reading)
    return hottest


def _hotter(first: Reading, second: Reading) -> Reading:
    if first.value is None or (second.value is not None and second.value > first.value):
        return second
    return first
