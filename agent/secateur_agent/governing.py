"""Feeds the governor: readings become its sample, the installed ladder its rungs; its memory survives a restart."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from secateur_agent.governor import Decision, GovernorSample, GovernorState, RungModel, decide, merge, rebase
from secateur_agent.installed_ladder import InstalledLadder
from secateur_agent.protocol.messages import Policy, Reading, RungMeasurement
from secateur_agent.store import StoreError, write_atomic
from secateur_profiles import Profile

TICK_SENSORS = frozenset({"memory", "pressure", "thermal", "battery", "rpi_throttled"})
"""Names of the sensors that every decision needs; the others are read for the report only."""
THROTTLE_SENSORS = frozenset({"cpu"})
"""Those that a decision needs, too, while the board may be throttled (`may_be_throttled`)."""
_KERNEL_BOOT = Path("/proc/sys/kernel/random/boot_id")


class RequestRate:
    """Inferences per second, smoothed over about ``time_constant_s``."""

    def __init__(self, time_constant_s: float = 10.0) -> None:
        self._time_constant_s = time_constant_s
        self._last: tuple[float, int] | None = None
        self.hz = 0.0
        self.quiet = True
        """Whether nothing was inferred since the update before."""

    def update(self, mono_s: float, requests: int) -> None:
        """Take the number of inferences made so far."""
        if self._last is not None and mono_s > self._last[0]:
            elapsed_s = mono_s - self._last[0]
            self.quiet = requests == self._last[1]
            now_hz = max(0, requests - self._last[1]) / elapsed_s
            self.hz += (1 - math.exp(-elapsed_s / self._time_constant_s)) * (now_hz - self.hz)
            if self.hz < 1e-3:
                self.hz = 0.0
        self._last = (mono_s, requests)


def may_be_throttled(readings: Mapping[str, Reading], profile: Profile) -> bool:
    """Return whether the firmware says that it throttles, or the temperature is one at which this board does."""
    temperature_c = _value(readings, "temperature_c")
    hot = temperature_c is not None and temperature_c >= profile.thermal.throttle_c
    return hot or bool(_value(readings, "throttled_now"))


def throttle_factor(readings: Mapping[str, Reading], profile: Profile) -> float:
    """Return by what factor latency is longer now, from the clock.

    A low clock alone means an idle processor; it counts only while the board may be throttled.
    """
    if not may_be_throttled(readings, profile):
        return 1.0
    maximum_mhz = _value(readings, "cpu_freq_max_mhz")
    now_mhz = _value(readings, "cpu_freq_limit_mhz")
    if maximum_mhz is None or now_mhz is None or now_mhz >= maximum_mhz:
        now_mhz = _value(readings, "cpu_freq_mhz")
    if maximum_mhz is None or now_mhz is None or now_mhz <= 0:
        return 1.0
    return max(1.0, maximum_mhz / now_mhz)


def governor_sample(
    readings: Mapping[str, Reading],
    profile: Profile,
    mono_s: float,
    request_rate_hz: float,
    worker_rss_mb: float | None,
    pin: str,
) -> GovernorSample:
    """Turn readings into what the governor decides upon; what is unavailable stays unknown."""
    charging = _value(readings, "battery_charging")
    return GovernorSample(
        mono_s=mono_s,
        mem_available_mb=_value(readings, "mem_available_mb"),
        cgroup_headroom_mb=_value(readings, "cgroup_headroom_mb"),
        worker_rss_mb=worker_rss_mb,
        runtime_base_mb=profile.memory.runtime_base_mb,
        psi_memory_some=_value(readings, "psi_memory_some_avg10"),
        throttle=throttle_factor(readings, profile),
        request_rate_hz=request_rate_hz,
        battery_energy_mwh=_value(readings, "battery_energy_mwh"),
        battery_full_mwh=_value(readings, "battery_capacity_mwh"),
        battery_charging=None if charging is None else bool(charging),
        idle_mw=profile.power.idle_mw,
        pin=pin,
    )


def _value(readings: Mapping[str, Reading], metric: str) -> float | None:
    reading = readings.get(metric)
    return reading.value if reading is not None else None


class _KeptState(msgspec.Struct, frozen=True):
    kernel_boot: str
    manifest_sha256: str
    state: GovernorState


class Governing:
    """The governor with its memory and the ladder it chooses from.

    Args:
        path: the file that keeps its state, so that a horizon does not begin anew with each restart.
        profile: the device's.
        mono_s: the monotonic clock now.
    """

    def __init__(self, path: Path, profile: Profile, mono_s: float) -> None:
        self._path = path
        self._profile = profile
        self._kernel_boot = _kernel_boot()
        self._manifest_sha256 = ""
        self._ladder: tuple[RungModel, ...] = ()
        self._state = GovernorState()
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_KeptState)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return
        self._manifest_sha256 = kept.manifest_sha256
        same_clock = kept.kernel_boot == self._kernel_boot and mono_s >= kept.state.mono_s
        # The worker starts with nothing loaded, so the choice begins anew; objectives and asks do not.
        state = msgspec.structs.replace(kept.state, rung="", standing={})
        self._state = state if same_clock else rebase(state, mono_s)

    def take_ladder(
        self, ladder: InstalledLadder | None, measurements: tuple[RungMeasurement, ...], banned: Collection[str]
    ) -> None:
        """Choose from these rungs from now on; ``banned`` ones cannot run at present."""
        if ladder is None:
            self._ladder = ()
            return
        if ladder.manifest_sha256 != self._manifest_sha256:
            self._manifest_sha256 = ladder.manifest_sha256
            self._state = msgspec.structs.replace(self._state, rung="", standing={}, wish=None, asked=(), asked_s=None)
        self._ladder = tuple(rung for rung in merge(ladder.entries.values(), measurements) if rung.id not in banned)

    @property
    def rungs(self) -> tuple[str, ...]:
        """The ids of the ladder, most accurate first."""
        return tuple(rung.id for rung in self._ladder)

    def precision(self, rung: str) -> str:
        """Return the precision of a rung of the ladder ('' if it has none of this id)."""
        return next((each.precision for each in self._ladder if each.id == rung), "")

    def decide(self, sample: GovernorSample, policy: Policy) -> Decision | None:
        """Decide; None if there is nothing to choose from. Keeps the state when something is decided."""
        if not self._ladder:
            return None
        before = self._state
        self._state, decision = decide(before, sample, self._ladder, policy)
        if decision.changed or decision.ask is not None or before.deadline_s != self._state.deadline_s:
            self.keep()
        return decision

    def keep(self) -> None:
        """Write the state to disk; if that cannot be, a restart decides without it."""
        kept = _KeptState(self._kernel_boot, self._manifest_sha256, self._state)
        try:
            write_atomic(self._path, msgspec.json.encode(kept))
        except StoreError:
            return


def _kernel_boot() -> str:
    try:
        return _KERNEL_BOOT.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
