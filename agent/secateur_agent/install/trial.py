"""The trial of rungs: each runs in a fresh process on this device before it may serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from secateur_agent.bundle.manifest import RungEntry
from secateur_agent.helper_processes import HelperEnded, Job
from secateur_agent.installed_ladder import InstalledLadder
from secateur_agent.profiling.measure import HowMeasured, ProfileRequest, ProfileResult
from secateur_agent.protocol.messages import RungMeasurement
from secateur_profiles import Profile

_MODULE = "secateur_agent.profiling.rung"
_WARMUP = 3
_RUNS = 30
_MIN_TIME_S = 0.4
_TIME_LIMIT_S = 60.0
# A TensorRT engine, built at the first start and kept, takes minutes.
_START_LIMIT_S = 600.0
# A roofline is a lower bound and a board may be busy; beyond this, something else runs than what was planned for.
_SLOWEST_MS = 200.0
_SLOWEST_RATIO = 50.0


class Trial:
    """Tries rungs one after the other.

    Args:
        owner: whose trial it is, for the jobs.
        ladder: the model; its files are on disk.
        rungs: which rungs to try.
        profile: the device's limits.
        sysfs_root: look at heat and clock there, and measure energy where a sensor allows; None: only as much as a trial
            needs.

    Attributes:
        measurements: of the rungs that ran.
        how: rung → under which conditions, if there was a ``sysfs_root``.
        set_aside: rungs that are sound, but too big or too slow for this device, and why.
        failure: why the model must not be used, '' so far.
    """

    def __init__(
        self,
        owner: str,
        ladder: InstalledLadder,
        rungs: Sequence[RungEntry],
        profile: Profile,
        sysfs_root: Path | None = None,
    ) -> None:
        self._owner = owner
        self._ladder = ladder
        self._left = list(rungs)
        self._profile = profile
        self._total = len(self._left)
        self._job: Job | None = None
        self._sysfs_root = sysfs_root
        self.measurements: list[RungMeasurement] = []
        self.how: dict[str, HowMeasured] = {}
        self.set_aside: dict[str, str] = {}
        self.failure = ""

    @property
    def done(self) -> bool:
        """Whether nothing is left to try, or trying more is pointless."""
        return bool(self.failure) or not self._left

    def next_job(self) -> Job:
        """Return the trial of the first rung that is left."""
        request = ProfileRequest(
            load=self._ladder.load_request(self._left[0], self._profile),
            golden=self._left[0].golden,
            warmup=_WARMUP,
            runs=_RUNS,
            min_time_s=_MIN_TIME_S,
            time_limit_s=_TIME_LIMIT_S,
            energy_per_ms_mw=self._profile.inference_mw,
            sysfs_root=str(self._sysfs_root) if self._sysfs_root is not None else "",
            throttle_c=self._profile.thermal.throttle_c,
        )
        self._job = Job(
            owner=self._owner,
            key=self._left[0].id,
            module=_MODULE,
            request=msgspec.json.encode(request),
            time_limit_s=_TIME_LIMIT_S + _START_LIMIT_S,
        )
        return self._job

    def take(self, ended: HelperEnded) -> bool:
        """Take the result of the job given last; return False if it is of another."""
        if ended.job is not self._job:
            return False
        entry = self._left.pop(0)
        if ended.killed:
            self.set_aside[entry.id] = f"its trial {ended.error}"
        else:
            self._judge(entry, ended)
        if not self._left and not self.failure and len(self.set_aside) == self._total:
            rung, why = next(iter(self.set_aside.items()))
            self.failure = f"no rung fits this device; {rung}: {why}"
        return True

    def _judge(self, entry: RungEntry, ended: HelperEnded) -> None:
        try:
            result = msgspec.json.decode(ended.output, type=ProfileResult)
        except msgspec.MsgspecError:
            self.failure = f"trial of {entry.id}: {ended.error or 'its result cannot be read'}"
            return
        if not result.ok or result.measurement is None:
            self.failure = f"trial of {entry.id}: {result.error or 'no measurement'}"
            return
        measured = result.measurement
        limit_mb = self._profile.memory.worker_limit_mb
        slowest_ms = max(_SLOWEST_MS, _SLOWEST_RATIO * entry.latency_ms)
        if measured.peak_rss_mb > limit_mb:
            self.set_aside[entry.id] = f"peaks at {measured.peak_rss_mb:.0f} MB, the profile allows {limit_mb:g} MB"
        elif measured.latency_p50_ms > slowest_ms:
            self.set_aside[entry.id] = (
                f"takes {measured.latency_p50_ms:.0f} ms, planned were {entry.latency_ms:g} ms: not the planned runtime?"
            )
        else:
            self.measurements.append(measured)
            if result.how is not None:
                self.how[entry.id] = result.how
