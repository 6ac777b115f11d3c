"""Find all sensors, and read them so that none can hurt another."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterable
from pathlib import Path

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import reason, sound, unavailable
from secateur_agent.sensors.sensor import Sensor, registered_sensors

_log = logging.getLogger(__name__)
_RANK = {"measured": 0, "estimated": 1, "unavailable": 2}


def discover(root: Path = Path("/")) -> list[Sensor]:
    """Import every module of this package and construct its sensors.

    Args:
        root: the directory that holds `proc` and `sys`.

    Returns:
        One of each, in order of name. A module or class that fails is logged and left out.
    """
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        _import(module.name)
    made = (_construct(sensor_class, root) for sensor_class in registered_sensors())
    return [sensor for sensor in made if sensor is not None]


def _import(module: str) -> None:
    try:
        importlib.import_module(f"{__package__}.{module}")
    except Exception as error:
        _log.warning("sensor module %s is left out: %s", module, error)


def _construct(sensor_class: type[Sensor], root: Path) -> Sensor | None:
    try:
        return sensor_class(root)
    except Exception as error:
        _log.warning("sensor %s is left out: %s", sensor_class.name, error)
        return None


def read_all(sensors: Iterable[Sensor]) -> dict[str, Reading]:
    """Read every sensor.

    Args:
        sensors: what `discover` returned, and those that need more than a root.

    Returns:
        Metric name → reading. If a sensor raises, its metrics are unavailable and the note tells the error; if two
        give the same metric, the better quality wins.
    """
    readings: dict[str, Reading] = {}
    for sensor in sensors:
        try:
            found = {metric: sound(reading) for metric, reading in sensor.read().items()}
        except Exception as error:
            note = f"{type(error).__name__}: {reason(error)}"
            found = {metric: unavailable(unit, sensor.name, note) for metric, unit in sensor.metrics.items()}
        for metric, reading in found.items():
            readings[metric] = _better(readings[metric], reading) if metric in readings else reading
    return readings


def _better(first: Reading, second: Reading) -> Reading:
    if first.value is None and second.value is None:
        # Two instruments could give this metric and neither does: whoever looks for power needs both reasons.
        source = f"{first.source}, {second.source}"
        return unavailable(first.unit, source, f"{first.note}; {second.note}")
    return second if _RANK[second.quality] < _RANK[first.quality] else first
