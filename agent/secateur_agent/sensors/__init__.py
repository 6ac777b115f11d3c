"""What the device feels: memory, processor, pressure, heat, battery and power; one file per source.

Every path is relative to one root, so that a recorded or scripted tree stands in for the kernel's.
"""

from __future__ import annotations

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.registry import discover, read_all
from secateur_agent.sensors.sensor import Sensor

__all__ = ["Reading", "Sensor", "discover", "read_all"]
