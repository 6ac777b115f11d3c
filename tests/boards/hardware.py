"""A battery and a power monitor on a board, by the kernel's own interfaces: the agent reads them where it reads real ones.

`test_power` (drivers/power/supply/test_power.c) is a battery with its values in module parameters. `i2c-stub`
(Documentation/i2c/i2c-stub.rst) is an I2C bus whose chip keeps what is written to it; the kernel's driver reads it there.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.boards.board import Board
from tests.boards.device_tree import INA3221_ADDRESS, RAILS, SHUNT_MICROOHM

_BATTERY_UV = 3_700_000
# Registers (TI SBOS576): shunt and bus voltage of each channel, and "a conversion is ready", which the driver waits for.
_SHUNT, _BUS = (0x01, 0x03, 0x05), (0x02, 0x04, 0x06)
_SHUNT_STEP_UV, _BUS_STEP_MV = 40, 8
_MASK_ENABLE, _CONVERSION_READY = 0x0F, 0x0001


def set_battery(board: Board, percent: int, status: str, milliwatts: float = 2000) -> None:
    """Give the board a battery of 5 Ah and 3.7 V, or change it.

    Args:
        board: it must run.
        percent: what it holds.
        status: `charging`, `discharging`, `not-charging` or `full`.
        milliwatts: what flows in or out.
    """
    microamperes = round(milliwatts * 1e9 / _BATTERY_UV) * (-1 if status == "discharging" else 1)
    board.run(
        f"""set -e
        [ -d /sys/module/test_power ] || modprobe test_power
        cd /sys/module/test_power/parameters
        echo on > battery_present
        echo {_BATTERY_UV} > battery_voltage
        echo {microamperes} > battery_current
        echo {percent} > battery_capacity
        echo {status} > battery_status
        echo {"off" if status == "discharging" else "on"} > ac_online"""
    )


def set_power_rails(board: Board, volts_and_amperes: Mapping[str, tuple[float, float]]) -> None:
    """Give the board's power monitor power to measure; the first call makes the monitor appear.

    Args:
        board: it must run.
        volts_and_amperes: for rails of `device_tree.RAILS`; others keep what they have.
    """
    values = {_MASK_ENABLE: _CONVERSION_READY}
    for label, (volts, amperes) in volts_and_amperes.items():
        channel = RAILS.index(label)
        values[_SHUNT[channel]] = round(amperes * SHUNT_MICROOHM / _SHUNT_STEP_UV) << 3
        values[_BUS[channel]] = round(volts * 1000 / _BUS_STEP_MV) << 3
    writes = "\n".join(
        f"i2cset -f -y $BUS {INA3221_ADDRESS:#x} {register:#04x} {_swapped(value):#06x} w"
        for register, value in values.items()
    )
    board.run(
        f"""set -e
        modprobe -a ina3221 i2c-dev
        [ -d /sys/module/i2c_stub ] || modprobe i2c-stub chip_addr={INA3221_ADDRESS:#x}
        BUS=$(i2cdetect -l | awk '/SMBus stub/ {{ sub("i2c-", "", $1); print $1 }}')
        {writes}"""
    )


def _swapped(value: int) -> int:
    """The chip sends its high byte first, SMBus words have the low one first."""
    return (value & 0xFF) << 8 | value >> 8
