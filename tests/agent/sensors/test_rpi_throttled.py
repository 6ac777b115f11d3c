from __future__ import annotations

import pytest

from secateur_agent.sensors.rpi_throttled import RpiThrottled

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
ALARM = {"sys/class/hwmon/hwmon1/name": "rpi_volt\n", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}


@pytest.mark.parametrize(
    ("flags", "throttled", "undervoltage"),
    [
        ("0", 0, 0),
        ("1", 0, 1),
        ("2", 1, 0),
        ("4", 1, 0),
        ("8", 1, 0),
        ("50005", 1, 1),
        ("50000", 0, 0),
        ("0xe0008", 1, 0),
        ("throttled=0x1", 0, 1),
    ],
)
def test_present_state_and_not_history(tree, flags, throttled, undervoltage):
    tree.write({FIRMWARE: flags + "\n"})
    readings = RpiThrottled(tree.root).read()
    assert readings["throttled_now"].value == throttled
    assert readings["undervoltage_now"].value == undervoltage


def test_kernel_alarm_stands_in_for_a_silent_firmware(tree):
    tree.write(ALARM)
    readings = RpiThrottled(tree.root).read()
    assert readings["undervoltage_now"].value == 1
    assert readings["throttled_now"].value is None


def test_firmware_comes_before_the_alarm(tree):
    tree.write(ALARM | {FIRMWARE: "0"})
    assert RpiThrottled(tree.root).read()["undervoltage_now"].value == 0


def test_other_boards_have_neither(tree):
    readings = RpiThrottled(tree.root).read()
    assert {reading.note for reading in readings.values()} == {"no Raspberry Pi firmware"}


def test_garbage_is_unavailable(tree):
    tree.write({FIRMWARE: "error=1"})
    assert RpiThrottled(tree.root).read()["throttled_now"].value is None
