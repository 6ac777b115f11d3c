"""Case ``supervisor``: what the part of the agent that always runs takes from the device."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .case import Measured, say
from .fleet import Fleet
from .networks import RESNET, TITLES, compiled, shared_keys

SETTLE_S = 5.0
WATCH_S = 65.0


def measure(work: Path) -> list[Measured]:
    """Install a model over MQTT, then watch the supervisor's own process while nobody sends requests."""
    bundle = compiled(RESNET, work)
    with Fleet(work / "supervisor", shared_keys(work)) as fleet:
        fleet.install(bundle)
        time.sleep(SETTLE_S)
        pid = fleet.supervisor().pid
        began_s, cpu_s = time.perf_counter(), _cpu_seconds(pid)
        largest_mb = _status_mb(pid, "VmRSS")
        while time.perf_counter() - began_s < WATCH_S:
            time.sleep(1.0)
            largest_mb = max(largest_mb, _status_mb(pid, "VmRSS"))
        share = (_cpu_seconds(pid) - cpu_s) / (time.perf_counter() - began_s)
        peak_mb = _status_mb(pid, "VmHWM")
    say(f"resident {largest_mb:.1f} MB (peak since its start {peak_mb:.1f}), {share:.3%} of a core over {WATCH_S:.0f} s")
    case = f"{TITLES[RESNET]} installed, a decision each second, a report every 5 s"
    return [Measured("supervisor-rss", case, largest_mb), Measured("supervisor-cpu", case, share)]


def _cpu_seconds(pid: int) -> float:
    """User and system time of all threads, in nanoseconds where the kernel tells (clock ticks are 10 ms long)."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total_ns += int((task / "schedstat").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            break
    else:
        return total_ns / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_mb(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no {key}")
