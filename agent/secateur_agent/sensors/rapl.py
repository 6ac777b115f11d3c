"""Power of the processor packages from the RAPL energy counters (Intel, and AMD through the same interface)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, unavailable
from secateur_agent.sensors.sensor import Sensor

_POWERCAP = "sys/class/powercap"


class Rapl(Sensor):
    """`power_mw_rapl`: mean since the previous read, all packages together. It leaves out memory, disks and losses.

    Args:
        root: the directory that holds `proc` and `sys`.
        clock: monotonic seconds.
    """

    name = "rapl"
    metrics: ClassVar[Mapping[str, str]] = {"power_mw_rapl": "mW"}

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(root)
        self._clock = clock
        self._previous: tuple[float, dict[str, float]] | None = None

    def read(self) -> dict[str, Reading]:
        """Returns: one reading, unavailable the first time, for it is a difference."""
        packages = [
            zone
            for zone in self.tree.children(_POWERCAP)
            # intel-rapl:0 is a package; intel-rapl:0:1 a part of it; intel-rapl-mmio repeats it.
            if zone.startswith("intel-rapl:") and zone.count(":") == 1 and self._is_package(zone)
        ]
        source = f"/{_POWERCAP}"
        if not packages:
            return {"power_mw_rapl": unavailable("mW", source, "no RAPL package")}
        return {"power_mw_rapl": attempt("mW", source, lambda: self._milliwatts(packages))}

    def _is_package(self, zone: str) -> bool:
        try:
            return self.tree.text(f"{_POWERCAP}/{zone}/name").startswith("package")
        except OSError:
            return False

    def _milliwatts(self, packages: list[str]) -> float:
        previous, self._previous = self._previous, None  # after a failed read the next one starts afresh
        now_s = self._clock()
        energy_uj = {zone: self.tree.number(f"{_POWERCAP}/{zone}/energy_uj") for zone in packages}
        self._previous = (now_s, energy_uj)
        if previous is None or previous[1].keys() != energy_uj.keys():
            raise ValueError("the first reading; it takes two")
        elapsed_s = now_s - previous[0]
        if elapsed_s <= 0:
            raise ValueError("no time has passed since the previous reading")
        spent_uj = sum(self._spent_uj(zone, previous[1][zone], energy_uj[zone]) for zone in packages)
        return spent_uj / elapsed_s / 1000

    def _spent_uj(self, zone: str, before_uj: float, after_uj: float) -> float:
        if after_uj >= before_uj:
            return after_uj - before_uj
        spent_uj = after_uj + self.tree.number(f"{_POWERCAP}/{zone}/max_energy_range_uj") - before_uj
        if spent_uj < 0:
            raise ValueError("the counter went backwards")
        return spent_uj
