"""The device tree of QEMU's `virt` board with a power monitor added, described as a Jetson's is.

The binding is the kernel's Documentation/devicetree/bindings/hwmon/ti,ina3221; the bus is `i2c-stub`'s (see
kernel_modules.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.boards.build_cache import run

INA3221_ADDRESS = 0x40
SHUNT_MICROOHM = 5000
# The rails of a Jetson Orin Nano, as its own device tree calls them.
RAILS = ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")


def with_power_monitor(machine: Sequence[str], memory_mb: int, target: Path) -> None:
    """Write the device tree.

    Args:
        machine: QEMU's arguments for the machine.
        memory_mb: its memory, which the tree tells too.
        target: the file.
    """
    dump = list(machine)
    dump[dump.index("-M") + 1] += f",dumpdtb={target}"
    run("qemu-system-aarch64", *dump, "-m", str(memory_mb), "-nodefaults", "-display", "none")
    chip = f"/i2c-stub/ina3221@{INA3221_ADDRESS:x}"
    _node(target, "/i2c-stub", {"#address-cells": 1, "#size-cells": 0})
    _node(target, chip, {"compatible": "ti,ina3221", "reg": INA3221_ADDRESS, "#address-cells": 1, "#size-cells": 0})
    for channel, label in enumerate(RAILS):
        _node(
            target, f"{chip}/input@{channel}", {"reg": channel, "label": label, "shunt-resistor-micro-ohms": SHUNT_MICROOHM}
        )


def _node(tree: Path, node: str, properties: Mapping[str, int | str]) -> None:
    run("fdtput", "-c", tree, node)
    for name, value in properties.items():
        run("fdtput", "-t", "i" if isinstance(value, int) else "s", tree, node, name, str(value))
