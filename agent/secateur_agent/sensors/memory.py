"""Memory that the device can still give, from /proc/meminfo and the control group's limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, measured, reason, unavailable
from secateur_agent.sensors.sensor import Sensor
from secateur_agent.sensors.tree import parse_number

_MEMINFO = "proc/meminfo"
_CGROUP = "sys/fs/cgroup"
_MIB = 1024 * 1024


class Memory(Sensor):
    """`mem_available_mb`, `mem_total_mb` and `cgroup_headroom_mb`, in MB of 2^20 bytes."""

    name = "memory"
    metrics: ClassVar[Mapping[str, str]] = {"mem_available_mb": "MB", "mem_total_mb": "MB", "cgroup_headroom_mb": "MB"}

    def read(self) -> dict[str, Reading]:
        """Returns: the three metrics; the headroom is unavailable where no limit is set."""
        return {
            "mem_available_mb": attempt("MB", "/" + _MEMINFO, lambda: self._meminfo_mb("MemAvailable")),
            "mem_total_mb": attempt("MB", "/" + _MEMINFO, lambda: self._meminfo_mb("MemTotal")),
            "cgroup_headroom_mb": self._cgroup_headroom(),
        }

    def _meminfo_mb(self, field: str) -> float:
        for line in self.tree.text(_MEMINFO).splitlines():
            key, _, value = line.partition(":")
            if key == field:
                return parse_number(value.removesuffix("kB").strip()) / 1024
        raise ValueError(f"no {field}")

    def _cgroup_headroom(self) -> Reading:
        """The tightest of the limits of this process's group (version 2) and of the groups above it."""
        headrooms: list[tuple[float, str]] = []
        for group in self._groups():
            source = f"/{group}/memory.max"
            try:
                limit = self.tree.text(f"{group}/memory.max")
                if limit != "max":
                    headrooms.append((parse_number(limit) - self._used_bytes(group), source))
            except FileNotFoundError:
                continue  # the root group has no limit
            except (OSError, ValueError) as error:
                return unavailable("MB", source, reason(error))
        if not headrooms:
            return unavailable("MB", f"/{_CGROUP}", "no memory limit is set (cgroup version 2)")
        headroom_bytes, source = min(headrooms)
        return measured(max(headroom_bytes, 0.0) / _MIB, "MB", source)

    def _groups(self) -> list[str]:
        try:
            lines = self.tree.text("proc/self/cgroup").splitlines()
        except OSError:
            lines = []
        own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
        parts = [part for part in own.split("/") if part not in ("", ".", "..")]
        return ["/".join([_CGROUP, *parts[:depth]]) for depth in range(len(parts), -1, -1)]

    def _used_bytes(self, group: str) -> float:
        used = self.tree.number(f"{group}/memory.current")
        try:
            stat = self.tree.text(f"{group}/memory.stat")
            inactive = next(line.split()[1] for line in stat.splitlines() if line.startswith("inactive_file "))
            # The kernel drops cold file pages before it kills: they are headroom, not use.
            return max(used - parse_number(inactive), 0.0)
        except (OSError, ValueError, IndexError, StopIteration):
            return used
