"""The one interface that a source of readings implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.tree import DeviceTree

_registered: list[type[Sensor]] = []


class Sensor(ABC):
    """One source of readings. A subclass registers itself by being defined in a module of this package.

    `name` says the source, `metrics` the readings that it always gives and their units; `read` may give more (one
    per thermal zone, one per rail). Pass `register=False` in the class line if it takes more than a root.

    Args:
        root: the directory that holds `proc` and `sys`. Construction does no input or output.
    """

    name: ClassVar[str]
    metrics: ClassVar[Mapping[str, str]]

    def __init_subclass__(cls, *, register: bool = True) -> None:
        super().__init_subclass__()
        if register:
            _registered.append(cls)

    def __init__(self, root: Path = Path("/")) -> None:
        self.tree = DeviceTree(root)

    @abstractmethod
    def read(self) -> dict[str, Reading]:
        """Returns: metric name → reading; what cannot be read is present and unavailable."""


def registered_sensors() -> list[type[Sensor]]:
    """Returns: the sensor classes defined so far, in order of name."""
    return sorted(_registered, key=lambda sensor: sensor.name)
