"""Memory of the worker process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import measured, unavailable
from secateur_agent.sensors.sensor import Sensor

_SOURCE = "/proc/PID/statm"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessMemory(Sensor, register=False):
    """`worker_rss_mb`: resident set of one process. Read from the system: psutil would cost a megabyte.

    Args:
        pid_getter: the worker's process id at this moment, None if there is no worker.
    """

    name = "process"
    metrics: ClassVar[Mapping[str, str]] = {"worker_rss_mb": "MB"}

    def __init__(self, pid_getter: Callable[[], int | None]) -> None:
        super().__init__()
        self._pid_getter = pid_getter

    def read(self) -> dict[str, Reading]:
        """Returns: one reading, unavailable if the process is gone."""
        return {"worker_rss_mb": self._resident()}

    def _resident(self) -> Reading:
        pid = self._pid_getter()
        if pid is None:
            return unavailable("MB", _SOURCE, "no worker is running")
        try:
            resident_bytes = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
        except (OSError, ValueError, IndexError) as error:
            return unavailable("MB", _SOURCE, f"process {pid}: {type(error).__name__}")
        if resident_bytes == 0:  # ended and not yet waited for
            return unavailable("MB", _SOURCE, f"process {pid} has ended")
        return measured(resident_bytes / 2**20, "MB", _SOURCE)
