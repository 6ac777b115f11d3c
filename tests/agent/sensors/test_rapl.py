from __future__ import annotations

import pytest

from secateur_agent.sensors.rapl import Rapl

POWERCAP = "sys/class/powercap"


def package(index: int, energy_uj: int) -> dict[str, str]:
    zone = f"{POWERCAP}/intel-rapl:{index}"
    return {
        f"{zone}/name": f"package-{index}\n",
        f"{zone}/energy_uj": f"{energy_uj}\n",
        f"{zone}/max_energy_range_uj": "262143328850\n",
    }


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_power_is_energy_over_time(tree, clock):
    tree.write(package(0, 1_000_000))
    rapl = Rapl(tree.root, clock)
    assert rapl.read()["power_mw_rapl"].value is None
    tree.write(package(0, 31_000_000))
    clock.now_s += 2
    assert rapl.read()["power_mw_rapl"].value == pytest.approx(15_000)


def test_counter_that_wraps_is_continued(tree, clock):
    tree.write(package(0, 262_143_328_850 - 4_000_000))
    rapl = Rapl(tree.root, clock)
    rapl.read()
    tree.write(package(0, 6_000_000))
    clock.now_s += 1
    assert rapl.read()["power_mw_rapl"].value == pytest.approx(10_000)


def test_packages_add_up_and_their_parts_do_not_count_again(tree, clock):
    parts = {f"{POWERCAP}/intel-rapl:0:0/name": "core", f"{POWERCAP}/intel-rapl:0:0/energy_uj": "5"}
    duplicate = {f"{POWERCAP}/intel-rapl-mmio:0/name": "package-0", f"{POWERCAP}/intel-rapl-mmio:0/energy_uj": "5"}
    platform = {f"{POWERCAP}/intel-rapl:2/name": "psys", f"{POWERCAP}/intel-rapl:2/energy_uj": "5"}
    tree.write(package(0, 0) | package(1, 0) | parts | duplicate | platform)
    rapl = Rapl(tree.root, clock)
    rapl.read()
    tree.write(package(0, 1_000_000) | package(1, 2_000_000))
    clock.now_s += 1
    assert rapl.read()["power_mw_rapl"].value == pytest.approx(3_000)


def test_counter_that_only_root_may_read_is_unavailable(tree, clock):
    tree.write(package(0, 0))
    tree.switch_off(f"{POWERCAP}/intel-rapl:0/energy_uj")
    assert Rapl(tree.root, clock).read()["power_mw_rapl"].value is None


def test_a_failed_read_does_not_spoil_the_next_difference(tree, clock):
    tree.write(package(0, 0))
    rapl = Rapl(tree.root, clock)
    rapl.read()
    tree.write({f"{POWERCAP}/intel-rapl:0/energy_uj": "garbage"})
    clock.now_s += 1
    assert rapl.read()["power_mw_rapl"].value is None
    tree.write(package(0, 9_000_000))
    clock.now_s += 1
    assert rapl.read()["power_mw_rapl"].value is None
    tree.write(package(0, 10_000_000))
    clock.now_s += 1
    assert rapl.read()["power_mw_rapl"].value == pytest.approx(1_000)


def test_machine_without_rapl_is_unavailable(tree, clock):
    assert Rapl(tree.root, clock).read()["power_mw_rapl"].note == "no RAPL package"
