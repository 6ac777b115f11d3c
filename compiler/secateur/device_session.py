"""One measurement on a device: files become packs, each pack a signed command, and its times are kept as they come.

What comes back is on disk here before the next pack leaves, so that a measurement that ends in the middle, whoever ended it,
goes on with the files that are missing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from secateur.device_tables import TimedFile, UnderWay, save_under_way
from secateur.fleet.client import HostClient
from secateur.fleet.commands import TERMINAL
from secateur.ir import SecateurError
from secateur_agent.profiling.pack import PackedFile, PackHeader, encode_pack
from secateur_agent.protocol.timings import PackTimings
from secateur_profiles import Profile

PACK_FILES, PACK_BYTES = 96, 16 << 20
"""Of one pack: four batches of the agent, and what a slow link carries in minutes. One file alone may be larger."""
EXPIRY_S = 6 * 3600.0
PATIENCE_S = 60.0
"""How long a device may be away in the middle of a measurement."""
POLL_S = 0.3
HERE = ("ready", "alert")
_PRESENCE_S = 2.0
_FRUITLESS = 2

Tell = Callable[[str, int, int], None]


class DeviceMeasurementError(SecateurError):
    """A device cannot be measured, or went away in the middle."""


@dataclass(frozen=True)
class Target:
    """A device that can be measured, and how.

    Attributes:
        device: its id.
        profile: its profile.
        precision: that is measured.
        version: of its runtime.
        path: where its table will lie.
        simulated: what of it is not real, '' if nothing is.
    """

    device: str
    profile: Profile
    precision: str
    version: str
    path: Path
    simulated: str = ""


def read_timings(result: dict[str, Any], digests: Sequence[str]) -> tuple[PackTimings, dict[str, TimedFile]]:
    """Decode the result of a command with a pack.

    Args:
        result: as the device sent it.
        digests: of the files of the pack.

    Returns:
        What it said, and the times by digest; a file that the pack does not have is left out.

    Raises:
        msgspec.ValidationError: if it does not meet the specification, or a time is absurd.
    """
    said = msgspec.convert(result, PackTimings)
    found = {}
    for each in said.timings:
        if each.file < len(digests):
            error = each.error or ("" if each.p50_ms and each.p95_ms else "no time was given")
            fields = {"p50_ms": each.p50_ms, "p95_ms": each.p95_ms, "slowed": each.slowed, "error": error}
            found[digests[each.file]] = msgspec.convert(fields, TimedFile)
    return said, found


class PackSession:
    """Collects files into packs, sends each pack when it is full, and keeps what comes back in ``known``."""

    def __init__(self, host: HostClient, target: Target, known: UnderWay, total: int, tell: Tell, patience_s: float) -> None:
        self.known = known
        self._host = host
        self._target = target
        self._total = total
        self._tell = tell
        self._patience_s = patience_s
        self._waiting: dict[str, tuple[bytes, PackedFile]] = {}
        self._passed: set[str] = set()
        self._tell("time", 0, total)

    def add(self, data: bytes, described: PackedFile) -> None:
        """Take a file, unless its time is known."""
        self._passed.add(described.sha256)
        if described.sha256 in self.known.files or described.sha256 in self._waiting:
            return
        size = sum(each.size for _, each in self._waiting.values())
        if self._waiting and (len(self._waiting) >= PACK_FILES or size + len(data) > PACK_BYTES):
            self.flush()
        self._waiting[described.sha256] = (data, described)

    def flush(self) -> None:
        """Have what waits timed."""
        fruitless = 0
        while self._waiting:
            before = len(self.known.files)
            why = self._send()
            self._waiting = {digest: each for digest, each in self._waiting.items() if digest not in self.known.files}
            fruitless = fruitless + 1 if len(self.known.files) == before else 0
            if self._waiting and fruitless >= _FRUITLESS:
                raise self._ended(why or "it says that it is done, and times are missing")

    def _send(self) -> str:
        """Send one pack and wait for its end; return '' or why it failed."""
        files = list(self._waiting.values())
        header = PackHeader(
            measurement=self.known.measurement,
            runtime=self._target.profile.runtime.name,
            precision=self._target.precision,  # type: ignore[arg-type]
            threads=self._target.profile.runtime.threads,
            rounds=self.known.rounds,
            files=tuple(described for _, described in files),
        )
        with tempfile.NamedTemporaryFile(prefix="secateur-pack-") as file:
            file.write(encode_pack(header, (data for data, _ in files)))
            file.flush()
            sent = self._host.measure(self._target.device, Path(file.name), EXPIRY_S)
        digests, here_s, next_look_s = list(self._waiting), time.monotonic(), 0.0
        while True:
            self._take(sent["result"], digests)
            if sent["status"] in TERMINAL:
                return "" if sent["status"] == "done" else f"{sent['status']}: {sent['text']}"
            now_s = time.monotonic()
            if now_s >= next_look_s:
                next_look_s = now_s + _PRESENCE_S
                here_s = now_s if self._host.device(self._target.device)["state"] in HERE else here_s
                if now_s - here_s > self._patience_s:
                    raise self._ended(f"it has been away for {now_s - here_s:.0f} s")
            time.sleep(POLL_S)
            sent = self._host.command_state(self._target.device, sent["id"])

    def _take(self, result: dict[str, Any], digests: list[str]) -> None:
        if not result:
            return
        try:
            said, files = read_timings(result, digests)
        except msgspec.ValidationError as error:
            raise DeviceMeasurementError(f"device {self._target.device}: its times cannot be read: {error}") from None
        if said.runtime_version != self._target.version:
            raise DeviceMeasurementError(
                f"device {self._target.device}: its runtime is {said.runtime_version} now, not {self._target.version}; "
                "run the same command again"
            )
        new = {digest: timed for digest, timed in files.items() if digest not in self.known.files}
        if new:
            self.known = msgspec.structs.replace(
                self.known,
                files=self.known.files | new,
                machine=said.machine or self.known.machine,
                slowed=said.slowed or self.known.slowed,
            )
            save_under_way(self._target.path, self.known)
        self._tell("time", len(self._passed & self.known.files.keys()), self._total)

    def _ended(self, why: str) -> DeviceMeasurementError:
        kept = len(self._passed & self.known.files.keys())
        return DeviceMeasurementError(
            f"device {self._target.device}: {why}; {kept} of {self._total} files are timed and kept, "
            "run the same command again to go on"
        )
