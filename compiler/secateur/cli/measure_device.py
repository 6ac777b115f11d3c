"""``secateur measure DEVICE``: what it prints while the device measures, and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from secateur.cli.console import print_fields, print_json, print_table
from secateur.cli.options import find_host

if TYPE_CHECKING:
    from secateur.ir import Network
    from secateur.search import LatencyTable


class DeviceOptions(NamedTuple):
    """What was asked for."""

    device: str
    profile: str
    precision: str
    rounds: int
    rungs: bool
    patience_s: float
    as_json: bool


def measure_device(asked: DeviceOptions, state: Path | None, url: str, network: Callable[[], Network | None]) -> None:
    """Measure on a device, and print what came of it.

    Args:
        asked: the options.
        state: folder of the controller.
        url: of the controller.
        network: loads the network whose operators are timed.
    """
    with find_host(state, url) as host:
        host.device(asked.device)  # an unknown device is told before torch is imported
        # Torch takes seconds to import; no other command should wait for it.
        import torch

        from secateur.device_measuring import find_target, measure_on_device, measure_rungs

        torch.set_num_threads(1)
        target = find_target(host, asked.device, asked.profile, asked.precision)
        loaded = network()
        began = time.monotonic()
        measured = measure_rungs(host, asked.device) if asked.rungs else {}
        if measured and not asked.as_json:
            print_rungs(measured)
            print()
        try:
            tell = progress(quiet=asked.as_json, lines=True)
            table, known = measure_on_device(host, target, loaded, asked.rounds, tell, asked.patience_s)
        except KeyboardInterrupt:
            _say(f"what {asked.device} has timed is kept; run the same command again to go on")
            raise
    seconds = round(time.monotonic() - began, 1)
    slowed = table.slowed_points
    failed = [each.error for each in known.files.values() if each.error]
    if asked.as_json:
        summary = table_summary(target.path, table, seconds)
        print_json(
            {
                **summary,
                "device": asked.device,
                "simulated": target.simulated,
                "slowed_points": slowed,
                "slowed": known.slowed,
                "rungs": measured,
            }
        )
        return
    told = [("throttled", f"{slowed} of {len(table.points)} points: {known.slowed}")] if slowed else []
    lost = [("not timed", f"{len(failed)} files: {failed[0]}")] if failed else []
    use = ("use", f"secateur compile … --profile {target.profile.name} --measured-on {asked.device}")
    print_fields(
        [
            ("device", asked.device),
            ("simulated", target.simulated),
            *table_fields(target.path, table, seconds),
            *told,
            *lost,
            use,
        ]
    )


def print_rungs(result: dict[str, Any]) -> None:
    """Print what a device measured of its rungs."""
    how = result.get("how", {})
    rows = []
    for each in result.get("measurements", []):
        told = how.get(each["rung"], {})
        energy = "" if each.get("energy_mj") is None else f"{each['energy_mj']:.3g} ({each['energy_quality']})"
        runs = f"{told.get('warmup', '?')} + {told.get('runs', '?')}"
        latency = (f"{each['latency_p50_ms']:.3g}", f"{each['latency_p95_ms']:.3g}", f"{each['peak_rss_mb']:.0f}")
        rows.append((each["rung"], *latency, energy, told.get("threads", "?"), runs, told.get("slowed", "")))
    columns = ("rung", "p50 ms", "p95 ms", "peak MB", "energy mJ", "threads", "runs", "throttled")
    print_table(columns, rows, "no rung could be measured")
    for source in dict.fromkeys(str(each.get("energy_source", "")) for each in how.values()):
        if source:
            print(f"energy: {source}")
    for rung, why in result.get("set_aside", {}).items():
        print(f"{rung} is set aside: {why}")


def table_summary(path: Path, table: LatencyTable, seconds: float) -> dict[str, Any]:
    """Return what is told of a new table, for programs."""
    summary = {"table": str(path), "key": table.key, "calibration": table.calibration}
    return {**summary, "operators": len(table.entries), "points": len(table.points), "seconds": seconds}


def table_fields(path: Path, table: LatencyTable, seconds: float = 0.0) -> list[tuple[str, object]]:
    """Return what is told of a table, for people; ``seconds`` if it is known how long it took."""
    key, corrected = table.key, table.calibration
    took = f" in {seconds:g} s" if seconds else ""
    runs_on = f"{key.runtime} {key.runtime_version}, {key.threads} thread(s)"
    return [
        ("table", path),
        ("for", f"{key.profile}, {key.precision}, {runs_on}"),
        ("machine", key.machine),
        ("measured", f"{len(table.entries)} kinds of operator at {len(table.points)} widths{took}"),
        ("overhead", f"{table.run_overhead_ms * 1e3:.1f} µs a run, {table.operator_overhead_ms * 1e3:.1f} µs an operator"),
        (
            "correction",
            f"× {corrected.scale:.3g} + {corrected.offset_ms:.3g} ms, from {corrected.checked} whole networks"
            if corrected.checked
            else "none: no network was given to check the sum with",
        ),
    ]


def progress(quiet: bool, lines: bool = False) -> Callable[[str, int, int], None]:
    """Return what tells how far a measurement is.

    Args:
        quiet: tell nothing.
        lines: of a device: what is counted are files; and without a terminal a line now and then, for logs.
    """
    told = [-1]

    def tell(stage: str, done: int, total: int) -> None:
        if quiet:
            return
        if not sys.stderr.isatty():
            tenth = 10 * done // max(total, 1)
            if lines and tenth != told[0]:
                told[0] = tenth
                _say(f"{done} of {total} files timed")
            return
        text = f"{'files' if lines else 'operators'} {done}/{total}" if stage == "time" else "whole networks"
        open_end = not lines and (done < total or stage == "time")
        print(f"\rtiming {text} … ", end="" if open_end or done < total else "\n", file=sys.stderr, flush=True)

    return tell


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
