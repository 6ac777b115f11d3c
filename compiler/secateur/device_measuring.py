"""Measures on a device of the fleet: what to time goes there in packs, and what its agent found becomes its table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import secateur_profiles
from secateur.assembly import tensor_specs
from secateur.device_session import HERE, PATIENCE_S, POLL_S, DeviceMeasurementError, PackSession, Target, Tell
from secateur.device_tables import TimedFile, UnderWay, finish, load_under_way, table_path
from secateur.fleet.client import HostClient
from secateur.fleet.commands import TERMINAL
from secateur.fleet.packs import CAPABILITY
from secateur.ir import Network, SizedOperator
from secateur.measure import Times
from secateur.measuring import TINY, Wanted, calibrated, probe_file, table_of, what_to_time
from secateur.search import LatencyTable
from secateur.targets import choose_precision
from secateur_agent.profiling.pack import PackedFile, packed_file


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
    if found["state"] not in HERE:
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
    session = PackSession(host, target, load_under_way(target.path, rounds), total, tell, patience_s)
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
        time.sleep(POLL_S)
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
