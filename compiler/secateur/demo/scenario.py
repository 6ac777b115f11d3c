"""What happens to the devices: a battery drains, a board overheats, both recover."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from secateur.demo.devices import DemoDevice
from secateur.demo.processes import DemoError, Processes
from secateur.fleet.client import HostClient

MJ_PER_MWH = 3600.0
COMPRESSION = 900
"""One second of the demonstration stands for a quarter of an hour of the phone's battery."""
HORIZON_S = 40.0
TICK_S = 1.0
"""The governor decides once in this time. Of ten hours that is nothing, but of the replay it is a fortieth: what is used
after the last decision cannot be made up for, so the horizon that the phone is given is longer by one."""
RESERVE_PERCENT = 5.0

Say = Callable[[str], None]


@dataclass
class Battery:
    """The phone's replayed battery: idle power + inferences × energy of the rung that made them.

    Attributes:
        energy_mwh: now. ``capacity_mwh`` is that of the whole, both divided by `COMPRESSION`.
        spent_top_mwh: what the same inferences would have cost with the top rung pinned.
    """

    device: DemoDevice
    idle_mw: float
    energy_mj: dict[str, float]
    top: str
    capacity_mwh: float
    energy_mwh: float
    charging: bool = False
    spent_mwh: float = 0.0
    spent_top_mwh: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Rewrite the board's battery files five times a second until stopped."""
        last = time.monotonic()
        traffic = self.device.traffic
        assert traffic is not None
        traffic.take_inferences()
        while not self._ended.wait(0.2):
            now = time.monotonic()
            elapsed_s, last = now - last, now
            used = traffic.take_inferences()
            largest = max(self.energy_mj.values())
            network_mj = sum(count * self.energy_mj.get(rung, largest) for rung, count in used.items())
            top_mj = sum(used.values()) * self.energy_mj[self.top]
            if self.charging:
                self.energy_mwh = min(self.capacity_mwh, self.energy_mwh + self.capacity_mwh * elapsed_s / 30)
            else:
                self.spent_mwh += (self.idle_mw * elapsed_s + network_mj) / MJ_PER_MWH
                self.spent_top_mwh += (self.idle_mw * elapsed_s + top_mj) / MJ_PER_MWH
                self.energy_mwh -= (self.idle_mw * elapsed_s + network_mj) / MJ_PER_MWH
            power_mw = self.idle_mw + network_mj / max(elapsed_s, 1e-3)
            self.device.board.battery(self.energy_mwh, self.capacity_mwh, power_mw, self.charging)

    def stop(self) -> None:
        """End the replay."""
        self._ended.set()


@dataclass
class PhoneOutcome:
    """Whether the battery reached the horizon, and whether it would have with the top rung pinned."""

    reached: bool
    left_percent: float
    pinned_left_percent: float
    pinned_lasts_s: float


def measurements(host: HostClient, device: DemoDevice) -> dict[str, dict[str, Any]]:
    """Return rung → what the device measured of it."""
    reported = host.device(device.id)["reported"]
    return {each["rung"]: each for each in reported["measurements"]} if reported else {}


def drain_phone(host: HostClient, phone: DemoDevice, say: Say) -> PhoneOutcome:
    """Let the phone's battery drain over a horizon that the top rung would miss, then charge it.

    Args:
        host: the controller.
        phone: its agent has committed a ladder and serves.
        say: tells a person.
    """
    found = measurements(host, phone)
    ladder = sorted(found, key=lambda rung: -found[rung]["energy_mj"])
    energy = {rung: float(found[rung]["energy_mj"]) for rung in ladder}
    rate_hz = phone.rate_hz * phone.batch
    idle_mw = phone.profile.power.idle_mw
    # Between the top rung and the smallest: two fifths of the way up in energy.
    aim_mj = energy[ladder[-1]] + 0.4 * (energy[ladder[0]] - energy[ladder[-1]])
    usable_mwh = (idle_mw + rate_hz * aim_mj) * HORIZON_S / MJ_PER_MWH
    reserve = RESERVE_PERCENT / 100
    start_share = 0.5
    capacity_mwh = usable_mwh / (start_share - reserve)
    battery = Battery(phone, idle_mw, energy, ladder[0], capacity_mwh, start_share * capacity_mwh)
    phone.board.battery(battery.energy_mwh, capacity_mwh, idle_mw, charging=False)
    policy = {"horizon_s": HORIZON_S + TICK_S, "battery_reserve_percent": RESERVE_PERCENT, "reprune": False}
    host.policy(phone.id, policy)
    say(
        f"{phone.id}: unplugged at 50 % [replayed; time ×{COMPRESSION}: {HORIZON_S:.0f} s stand for "
        f"{HORIZON_S * COMPRESSION / 3600:.0f} h]; it must last that long and keep {RESERVE_PERCENT:.0f} %"
    )
    thread = threading.Thread(target=battery.run, daemon=True)
    thread.start()
    start_mwh = battery.energy_mwh
    time.sleep(HORIZON_S)
    left = battery.energy_mwh / capacity_mwh * 100
    pinned_left = (start_mwh - battery.spent_top_mwh) / capacity_mwh * 100
    pinned_lasts_s = HORIZON_S * (start_mwh - reserve * capacity_mwh) / battery.spent_top_mwh
    battery.charging = True
    outcome = PhoneOutcome(left >= RESERVE_PERCENT, left, pinned_left, pinned_lasts_s)
    say(
        f"{phone.id}: horizon {'reached' if outcome.reached else 'MISSED'} with {left:.1f} % left; now charging [replayed]. "
        f"The top rung pinned would have had {pinned_left:.1f} %, at the reserve after {pinned_lasts_s:.0f} s"
    )
    host.policy(phone.id, {})
    time.sleep(1.0)
    battery.stop()
    thread.join()
    phone.board.battery(capacity_mwh, capacity_mwh, idle_mw, charging=True)
    return outcome


def widest_gap(found: dict[str, dict[str, Any]], accuracy: dict[str, float]) -> tuple[str, str]:
    """Return the two rungs (upper, lower), neighbours in accuracy, between which a re-cut pays most: accuracy differs most.

    Every rung more accurate than the lower must be slower than the upper, so that a limit between the two leaves the lower.
    """
    latency = {rung: float(each["latency_p50_ms"]) for rung, each in found.items()}
    order = sorted(latency, key=lambda rung: (-accuracy[rung], -latency[rung]))
    pairs = []
    for index, lower in enumerate(order[1:], start=1):
        upper = min(order[:index], key=lambda rung: latency[rung])
        ratio = latency[upper] / latency[lower]
        pairs.append((ratio >= 1.2, accuracy[order[index - 1]] - accuracy[lower], upper, lower))
    if max(pairs)[1] < 0.005:
        raise DemoError(f"demo: the rungs as measured leave no gap to cut a rung for: {latency}")
    return max(pairs)[2:]


def throttle_pi(host: HostClient, pi: DemoDevice, accuracy: dict[str, float], processes: Processes, say: Say) -> None:
    """Overheat the Pi until its latency objective falls between two rungs; wait for the re-cut rung; let it cool.

    Args:
        host: the controller.
        pi: its agent has committed a ladder and serves.
        accuracy: rung → the accuracy that the governor expects of it.
        processes: to notice one that ends.
        say: tells a person.
    """
    found = measurements(host, pi)
    upper, lower = widest_gap(found, accuracy)
    top_ms = max(each["latency_p50_ms"] for each in found.values())
    objective_ms = 1.25 * top_ms
    host.policy(pi.id, {"latency_ms": objective_ms, "reprune_min_interval_s": 20.0})
    say(f"{pi.id}: latency objective {objective_ms:.3f} ms, which every rung meets at full clock")
    time.sleep(3.0)
    upper_ms, lower_ms = found[upper]["latency_p50_ms"], found[lower]["latency_p50_ms"]
    between_ms = upper_ms**0.9 * lower_ms**0.1
    factor = objective_ms / between_ms
    pi.board.temperature(84.0)
    pi.board.clock_limit(pi.board.max_mhz / factor)
    say(
        f"{pi.id}: 84 °C, clock limited to {pi.board.max_mhz / factor:.0f} MHz [replayed]: the objective now allows "
        f"{between_ms:.3f} ms, between {upper} ({upper_ms:.3f}) and {lower} ({lower_ms:.3f})"
    )
    known = set(found)

    def recut_serves() -> bool:
        reported = host.device(pi.id)["reported"] or {}
        return reported.get("rung", "") not in known and reported.get("rung", "") != ""

    processes.wait_for(f"{pi.id}: a re-cut rung that serves", recut_serves, 75.0)
    say(f"{pi.id}: re-cut rung {host.device(pi.id)['reported']['rung']} serves")
    time.sleep(5.0)
    pi.board.temperature(52.0)
    pi.board.clock_limit(pi.board.max_mhz)
    say(f"{pi.id}: cooled down to 52 °C [replayed]")


def wait_for_top(host: HostClient, device: DemoDevice, top: str, processes: Processes) -> None:
    """Wait until a device is back at its top rung.

    Raises:
        DemoError: if it does not climb.
    """
    processes.wait_for(
        f"{device.id}: back on {top}", lambda: (host.device(device.id)["reported"] or {}).get("rung") == top, 60.0
    )


__all__ = ["DemoError", "PhoneOutcome", "drain_phone", "measurements", "throttle_pi", "wait_for_top", "widest_gap"]
