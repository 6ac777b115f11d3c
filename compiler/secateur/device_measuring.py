"""Measures on a device of the fleet: what to time goes there in packs, and what its agent found becomes its table.

A pack is one signed command. What comes back is on disk here before the next pack leaves, so that a measurement that ends in
the middle, whoever ended it, goes on with the files that are missing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import secateur_profiles
from secateur.assembly import tensor_specs
from secateur.device_tables import TimedFile, UnderWay, finish, load_under_way, save_under_way, table_path
from secateur.fleet.client import HostClient
from secateur.fleet.commands import TERMINAL
from secateur.fleet.packs import CAPABILITY
from secateur.ir import Network, SecateurError, SizedOperator
from secateur.measure import Times
from secateur.measuring import TINY, Wanted, calibrated, probe_file, table_of, what_to_time
from secateur.search import LatencyTable
from secateur.targets import choose_precision
from secateur_agent.profiling.pack import PackedFile, PackHeader, encode_pack, packed_file
from secateur_agent.protocol.messages import PackTimings
from secateur_profiles import Profile

PACK_FILES, PACK_BYTES = 96, 16 << 20
"""Of one pack: four batches of the agent, and what a slow link carries in minutes. One file alone may be larger."""
EXPIRY_S = 6 * 3600.0
PATIENCE_S = 60.0
"""How long a device may be away in the middle of a measurement."""
_POLL_S, _PRESENCE_S = 0.3, 2.0
_FRUITLESS = 2
_HERE = ("ready", "alert")

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


def find_target(host: HostClient, device: str, profile: str = "", precision: str = "") -> Target:
    """Look whether a device can be measured.

    Args:
        host: the controller.
        device: its id.
        profile: name or file of its profile, if it is not a built-in one.
        precision: to measure; the profile's first if empty.

    Raises:
        DeviceMeasurementError: if it is away, its agent is too old, or it has no runtime.
        SecateurError: if profile or runtime cannot do the precision.
        secateur.fleet.client.ClientError: if the controller does not know it.
    """
    found = host.device(device)
    birth = found["birth"]
    if birth is None:
        raise DeviceMeasurementError(f"device {device}: it has not introduced itself yet; start its agent")
    if found["state"] not in _HERE:
        state = found["state"] or "never seen"
        raise DeviceMeasurementError(f"device {device}: it is offline ({state}); measure it when it is back")
    if CAPABILITY not in birth["capabilities"]:
        raise DeviceMeasurementError(f"device {device}: its agent is too old to time operators; install a newer one")
    known = secateur_profiles.load(profile or birth["profile"])
    if known.name != birth["profile"]:
        raise DeviceMeasurementError(f"device {device}: its profile is {birth['profile']}, not {known.name}")
    chosen = choose_precision(known, (precision,) if precision else ())
    version = birth["runtime_version"]
    if birth["runtime"] != known.runtime.name or not version:
        runs = f"{birth['runtime']} {version or '(not installed)'}"
        raise DeviceMeasurementError(f"device {device}: it runs {runs}, profile {known.name} needs {known.runtime.name}")
    path = table_path(device, known.name, known.runtime.name, version, chosen, known.runtime.threads)
    plays = f"the board: this is a {birth['machine']}" if birth["machine"] != known.cpu.arch else ""
    simulated = "; ".join(filter(None, (birth["simulated"], plays)))
    return Target(device, known, chosen, version, path, simulated)


def measure_on_device(
    host: HostClient, target: Target, network: Network | None, rounds: int, tell: Tell, patience_s: float = PATIENCE_S
) -> tuple[LatencyTable, UnderWay]:
    """Measure a table on a device and store it; go on where an earlier measurement ended.

    Args:
        host: the controller.
        target: from `find_target`.
        network: whose operators are timed; the standard set if None.
        rounds: how often files take turns.
        tell: told ``time``, how many files have times, and of how many.
        patience_s: how long the device may be away in the middle.

    Returns:
        The table, and what it was made from.

    Raises:
        DeviceMeasurementError: if the device went away, refused, or timed too little to make a table of.
        SecateurError: if nothing of the network can be timed.
    """
    wanted = what_to_time(target.profile, target.precision, network)
    total = 2 * len(wanted.probes) + len(wanted.keeps)
    session = _Session(host, target, load_under_way(target.path, rounds), total, tell, patience_s)
    order: list[str] = []
    for data, described in _files(wanted, target.profile.runtime.name):
        order.append(described.sha256)
        session.add(data, described)
    session.flush()
    table = table_from(wanted, order, session.known, target)
    finish(target.path, table)
    return table, session.known


def table_from(wanted: Wanted, order: Sequence[str], known: UnderWay, target: Target) -> LatencyTable:
    """Make a table of what a device timed.

    An operator of which a file could not be timed is left out, and with it those whose time is told by means of it.

    Args:
        wanted: what was to be timed.
        order: digests of the files: two for each probe, then the whole networks.
        known: their times.
        target: the device.

    Raises:
        DeviceMeasurementError: if it has too few times.
    """
    found = [known.files.get(digest) or TimedFile() for digest in order]
    pairs = {operator: (found[2 * i], found[2 * i + 1]) for i, operator in enumerate(wanted.probes)}
    times = {o: (a, b) for o, pair in pairs.items() if (a := _times(pair[0])) and (b := _times(pair[1]))}
    while bad := [o for o in times if any(other not in times for other in wanted.probes[o].others)]:
        times = {o: pair for o, pair in times.items() if o not in bad}
    if TINY not in times or len(times) < 2:
        error = next((each.error for each in found if each.error), "no file has times")
        raise DeviceMeasurementError(f"device {target.device}: no operator could be timed: {error}")
    probes = {operator: wanted.probes[operator] for operator in times}
    slowed = {o for o in probes if any(pairs[each][k].slowed for each in (o, *probes[o].others) for k in (0, 1))}
    slowed |= {SizedOperator(o.signature, o.channels_out, o.channels_in) for o in slowed}
    machine = known.machine or target.profile.cpu.model
    table = table_of(target.profile, target.precision, probes, times, machine, target.version, target.device, slowed)
    whole = [_times(each) for each in found[2 * len(wanted.probes) :]]
    return calibrated(table, wanted, [each.p50_ms if each else None for each in whole])


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


def measure_rungs(host: HostClient, device: str, expiry_s: float = 600.0) -> dict[str, Any]:
    """Let a device measure the rungs that it serves; return the result of the command, empty if it serves none.

    Raises:
        DeviceMeasurementError: if it fails.
    """
    reported = host.device(device)["reported"] or {}
    if not reported.get("rungs"):
        return {}
    sent = host.command(device, "measure", expiry_s)
    while sent["status"] not in TERMINAL:
        time.sleep(_POLL_S)
        sent = host.command_state(device, sent["id"])
    if sent["status"] != "done":
        raise DeviceMeasurementError(f"device {device}: its rungs: {sent['status']}: {sent['text']}")
    return dict(sent["result"])


def _files(wanted: Wanted, runtime: str) -> Iterator[tuple[bytes, PackedFile]]:
    """Yield the files one by one: together they may not fit into memory."""
    networks = (probe.build(length) for probe in wanted.probes.values() for length in probe.lengths)
    for source in (networks, wanted.whole_networks()):
        for network in source:
            data = probe_file(network, wanted.precision, runtime)
            yield data, packed_file(data, *tensor_specs(network))


def _times(timed: TimedFile) -> Times | None:
    if timed.p50_ms is None or timed.p95_ms is None:
        return None
    return Times(timed.p50_ms, timed.p95_ms)


class _Session:
    """Collects files into packs, sends each pack when it is full, and keeps what comes back."""

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
                here_s = now_s if self._host.device(self._target.device)["state"] in _HERE else here_s
                if now_s - here_s > self._patience_s:
                    raise self._ended(f"it has been away for {now_s - here_s:.0f} s")
            time.sleep(_POLL_S)
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
