"""How busy the processor is, and how fast it may run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, estimated
from secateur_agent.sensors.sensor import Sensor
from secateur_agent.sensors.tree import parse_number

_FREQUENCY = "sys/devices/system/cpu/cpu0/cpufreq"
_IDLE, _IOWAIT = 3, 4
_COUNTED = 8  # guest time, after these, is already part of user time


class Cpu(Sensor):
    """`cpu_percent` (all cores together, since the previous read), `cpu_freq_mhz` (now), `cpu_freq_max_mhz` (of the
    hardware), `cpu_freq_limit_mhz` (what heat or policy allows now), `load1`. Frequencies are those of core 0.
    """

    name = "cpu"
    metrics: ClassVar[Mapping[str, str]] = {
        "cpu_percent": "%",
        "cpu_freq_mhz": "MHz",
        "cpu_freq_max_mhz": "MHz",
        "cpu_freq_limit_mhz": "MHz",
        "load1": "processes",
    }

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._previous: tuple[float, float] | None = None

    def read(self) -> dict[str, Reading]:
        """Returns: the metrics; `cpu_percent` is unavailable the first time, for it is a difference."""
        limit = self._frequency("scaling_max_freq")
        maximum = self._frequency("cpuinfo_max_freq")
        if maximum.value is None and limit.value is not None:
            maximum = estimated(limit.value, "MHz", limit.source, "the present limit; the hardware's is not readable")
        return {
            "cpu_percent": attempt("%", "/proc/stat", self._busy_percent),
            "cpu_freq_mhz": self._frequency("scaling_cur_freq"),
            "cpu_freq_max_mhz": maximum,
            "cpu_freq_limit_mhz": limit,
            "load1": attempt("processes", "/proc/loadavg", self._load1),
        }

    def _frequency(self, file: str) -> Reading:
        return attempt("MHz", f"/{_FREQUENCY}/{file}", lambda: self._positive_mhz(f"{_FREQUENCY}/{file}"))

    def _positive_mhz(self, relative: str) -> float:
        frequency_khz = self.tree.number(relative)
        if frequency_khz <= 0:
            raise ValueError(f"{frequency_khz:g} kHz is no clock")
        return frequency_khz / 1000

    def _busy_percent(self) -> float:
        fields = self.tree.text("proc/stat").split("\n", 1)[0].split()
        if not fields or fields[0] != "cpu" or len(fields) <= _IOWAIT + 1:
            raise ValueError("no line of all processors")
        ticks = [parse_number(field) for field in fields[1 : 1 + _COUNTED]]
        total, idle = sum(ticks), ticks[_IDLE] + ticks[_IOWAIT]
        previous, self._previous = self._previous, (total, idle)
        if previous is None:
            raise ValueError("the first reading; it takes two")
        elapsed = total - previous[0]
        if elapsed <= 0:
            raise ValueError("the counters have not advanced")
        return min(max(100 * (1 - (idle - previous[1]) / elapsed), 0.0), 100.0)

    def _load1(self) -> float:
        fields = self.tree.text("proc/loadavg").split()
        if not fields:
            raise ValueError("empty")
        return parse_number(fields[0])
