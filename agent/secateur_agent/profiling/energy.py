"""Energy of one inference from a power sensor: what the board draws more while it infers, times how long one takes."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from secateur_agent.sensors import discover, read_all

_METRICS = {"power_mw": 2.0, "battery_power_mw": 8.0, "power_mw_rapl": 2.0}
"""Metric → how long to look, in s: a fuel gauge answers about once a second. The supply of the whole board comes first."""
_SENSORS = ("ina2xx", "ina3221", "battery", "rapl")
_INTERVAL_S = 0.05
_LEAST_READINGS = 4


class Energy(NamedTuple):
    """``energy_mj`` is None if it cannot be measured; ``source`` says from what it is, or why it is not."""

    energy_mj: float | None
    source: str


def measure_energy(run: Callable[[], object], root: Path) -> Energy:
    """Measure the energy of one inference: idle first, then under load.

    Args:
        run: infers once.
        root: the folder that holds ``proc`` and ``sys``.
    """
    meter = _Meter(root)
    if not meter.metric:
        return Energy(None, "no sensor measures power")
    seconds = _METRICS[meter.metric]
    idle_mw = meter.mean_mw(seconds, lambda: time.sleep(_INTERVAL_S))[0]
    active_mw, runs, elapsed_s = meter.mean_mw(seconds, run)
    if idle_mw is None or active_mw is None:
        return Energy(None, f"{meter.metric} could not be read often enough")
    if active_mw <= idle_mw:
        return Energy(None, f"{meter.metric} is no higher under load ({active_mw:.0f} mW) than idle ({idle_mw:.0f} mW)")
    # 1 mW for 1 s is 1 mJ.
    energy_mj = (active_mw - idle_mw) * elapsed_s / runs
    return Energy(energy_mj, f"{meter.metric} ({meter.source}): {active_mw:.0f} mW under load, {idle_mw:.0f} mW idle")


class _Meter:
    """The first power metric that is measured here; ``metric`` is '' if there is none."""

    def __init__(self, root: Path) -> None:
        self._sensors = [sensor for sensor in discover(root) if sensor.name in _SENSORS]
        read_all(self._sensors)  # energy counters tell power from the second reading on
        time.sleep(_INTERVAL_S)
        readings = read_all(self._sensors)
        self.metric = self.source = ""
        for metric in _METRICS:
            reading = readings.get(metric)
            if reading is not None and reading.quality == "measured" and (reading.value or 0.0) > 0:
                self.metric, self.source = metric, reading.source
                return

    def mean_mw(self, seconds: float, work: Callable[[], object]) -> tuple[float | None, int, float]:
        """Return the mean power while working, how often was worked, and how long; no power if it was read too seldom."""
        found: list[float] = []
        over = threading.Event()
        read_all(self._sensors)

        def sample() -> None:
            while not over.wait(_INTERVAL_S):
                reading = read_all(self._sensors).get(self.metric)
                if reading is not None and reading.quality == "measured" and reading.value is not None:
                    found.append(reading.value)

        sampler = threading.Thread(target=sample, daemon=True)
        began_s, runs = time.monotonic(), 0
        sampler.start()
        while time.monotonic() - began_s < seconds:
            work()
            runs += 1
        elapsed_s = time.monotonic() - began_s
        over.set()
        sampler.join()
        return (statistics.fmean(found) if len(found) >= _LEAST_READINGS else None), runs, elapsed_s
