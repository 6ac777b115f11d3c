"""A replayed board: a folder with the ``sys`` and ``proc`` files that an agent's sensors read, rewritten by a script.

Nothing here is measured: every agent of the demonstration says so in its reports.
"""

from __future__ import annotations

import os
from pathlib import Path

SIMULATED = "replayed sensors: scripted sysfs tree, not this machine"


class Board:
    """The sensor files of one device. Attributes: ``root``, the folder to give an agent as ``sysfs_root``."""

    def __init__(self, root: Path, max_mhz: float, memory_mb: float = 4096) -> None:
        self.root = root
        self.max_mhz = max_mhz
        kib = int(memory_mb * 1024)
        self.write("proc/meminfo", f"MemTotal: {kib} kB\nMemFree: {kib // 2} kB\nMemAvailable: {kib * 6 // 10} kB\n")
        for resource in ("cpu", "memory", "io"):
            lines = [f"{kind} avg10=0.00 avg60=0.00 avg300=0.00 total=0\n" for kind in ("some", "full")]
            self.write(f"proc/pressure/{resource}", "".join(lines))
        self.write("proc/loadavg", "0.20 0.15 0.10 1/100 1000\n")
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self.temperature(48.0)
        cpufreq = "sys/devices/system/cpu/cpu0/cpufreq"
        self.write(f"{cpufreq}/cpuinfo_max_freq", f"{int(max_mhz * 1000)}\n")
        self.clock_limit(max_mhz)

    def write(self, path: str, text: str) -> None:
        """Replace one file in one step, so that no sensor reads half of it."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.draft")
        draft.write_text(text)
        os.replace(draft, file)

    def temperature(self, celsius: float) -> None:
        """Set the processor's temperature."""
        self.write("sys/class/thermal/thermal_zone0/temp", f"{int(celsius * 1000)}\n")

    def clock_limit(self, mhz: float) -> None:
        """Set the clock and the limit that throttling puts on it."""
        for name in ("scaling_max_freq", "scaling_cur_freq"):
            self.write(f"sys/devices/system/cpu/cpu0/cpufreq/{name}", f"{int(mhz * 1000)}\n")

    def battery(self, energy_mwh: float, capacity_mwh: float, power_mw: float, charging: bool) -> None:
        """Set the state of the battery; ``power_mw`` is what flows out of it, or into it while it charges."""
        folder = "sys/class/power_supply/battery"
        self.write(f"{folder}/type", "Battery\n")
        self.write(f"{folder}/status", "Charging\n" if charging else "Discharging\n")
        self.write(f"{folder}/capacity", f"{max(0, min(100, round(100 * energy_mwh / capacity_mwh)))}\n")
        self.write(f"{folder}/energy_full", f"{int(capacity_mwh * 1000)}\n")
        self.write(f"{folder}/energy_now", f"{max(0, int(energy_mwh * 1000))}\n")
        self.write(f"{folder}/power_now", f"{int(power_mw * 1000)}\n")
        self.write(f"{folder}/temp", "310\n")

    def rail(self, power_mw: float, voltage_mv: float = 5000) -> None:
        """Set the board's total power as an INA3221 shows it (VDD_IN of a Jetson)."""
        folder = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
        self.write(f"{folder}/name", "ina3221\n")
        self.write(f"{folder}/in1_label", "VDD_IN\n")
        self.write(f"{folder}/in1_input", f"{int(voltage_mv)}\n")
        self.write(f"{folder}/curr1_input", f"{int(power_mw / voltage_mv * 1000)}\n")
