"""Case ``latency-vs-plan``: how far planned latencies are from those of the rungs' files, and what half the work saves."""

from __future__ import annotations

from pathlib import Path

from secateur.bundle.reader import BundleFolder
from secateur.evaluation import time_interleaved
from secateur.load import Task, export_module
from secateur.measuring import measure_table
from secateur.pipeline import CompileSettings, compile
from secateur.pruning import cut
from secateur.search import Costs
from secateur.search.latency_table import write_table
from secateur.workspace import load_workspace, steps_of
from secateur.writing import file_of
from secateur_profiles import load as load_profile

from .case import Measured, say
from .networks import PROFILE, RESNET, RUNGS, TITLES, images, shared_keys, warmed_network

ROUNDS = 25
"""More than a table takes: these are what it is judged by."""


def measure(work: Path) -> list[Measured]:
    """Measure a table, compile with it, time the rungs' files; in both precisions."""
    return [found for precision in ("fp32", "int8") for found in _precision(precision, work / f"latency-{precision}")]


def _precision(precision: str, folder: Path) -> list[Measured]:
    profile, keys, task = load_profile(PROFILE), shared_keys(folder.parent), Task(images(RESNET), RESNET)
    module = warmed_network(RESNET)
    table = measure_table(profile, precision, export_module(module, task.input_shape))
    write_table(folder / "table.json", table)
    corrected = table.calibration
    say(f"{precision}: {len(table.points)} points; corrected by × {corrected.scale:.3f} + {corrected.offset_ms:.4f} ms")
    tables = (folder / "table.json",)
    settings = CompileSettings(rungs=RUNGS, steps=0, precisions=(precision,), latency_tables=tables, verify_latency=False)
    compile(module, task, [PROFILE], folder, RESNET, keys, settings)
    bundle = BundleFolder(folder / f"{RESNET}-{PROFILE}.bundle", keys.root)
    rungs = bundle.manifest.rungs
    state, master, _ = load_workspace(folder / "workspace")
    costs = Costs(master.network, master.groups)
    full = costs.macs(master.groups.full())
    path = [step.keep for step in steps_of(state.profiles[PROFILE])]
    half = max((keep for keep in path if costs.macs(keep) <= full / 2), key=costs.macs)
    halved = file_of(cut(master.network, master.groups, half), master.calibration[:64], precision)
    files = [*(bundle.materialise(rung.id) for rung in rungs), halved]
    *times, half_time = time_interleaved(files, precision, profile.runtime.threads, ROUNDS)
    ratios = [rung.latency_ms / timing.p50_ms for rung, timing in zip(rungs, times)]
    for rung, timing, ratio in zip(rungs, times, ratios):
        say(
            f"{precision}: {rung.id} {rung.macs / full:.2f} of the work, planned {rung.latency_ms:.4f} ms "
            f"({rung.latency_source}), measured {timing.p50_ms:.4f} ms, {ratio:.3f}"
        )
    share = costs.macs(half) / full
    found = [
        Measured("latency-vs-plan", f"{TITLES[RESNET]}, {precision}, {len(rungs)} rungs", max(abs(r - 1) for r in ratios))
    ]
    saved = half_time.p50_ms / times[0].p50_ms
    say(f"{precision}: {share:.3f} of the work takes {saved:.3f} of the time")
    found.append(Measured("half-macs-time", f"{TITLES[RESNET]}, {precision}, {share:.0%} of the work", saved))
    return found
