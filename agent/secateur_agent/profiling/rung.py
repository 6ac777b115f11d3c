"""Measures one rung in a fresh process: ``python -m secateur_agent.profiling.rung``.

Reads a `ProfileRequest` from standard input and writes a `ProfileResult` to standard output, both JSON. A process of
its own, because peak memory is a property of a process's whole life.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

# A worker has the server in memory too, so what is measured here should.
import secateur_agent.inference.server  # noqa: F401
from secateur_agent.bundle.golden import golden_errors, golden_inputs, noise_inputs
from secateur_agent.bundle.manifest import BundleError
from secateur_agent.child_process import end_with_parent, let_go_of_streams
from secateur_agent.inference.backend import Backend, BackendError, one_line, open_backend
from secateur_agent.inference.control import LoadRung
from secateur_agent.profiling.measure import HowMeasured, ProfileRequest, ProfileResult
from secateur_agent.profiling.memory import peak_rss_mb
from secateur_agent.protocol.messages import RungMeasurement

if TYPE_CHECKING:
    from secateur_agent.profiling.conditions import Watch
    from secateur_agent.profiling.energy import Energy

_SEED = 20
_BLOCKS = 10
_MAX_RUNS = 100_000


def profile(request: ProfileRequest) -> ProfileResult:
    """Load a rung, check its golden outputs and measure it, at batch 1.

    Returns:
        The result; ``ok`` is False, with one line of reason, if it cannot be loaded or computes something else.
    """
    load = request.load
    _compile(load)
    try:
        backend = open_backend(load)
        started = time.monotonic()  # a runtime that compiles the file at its first start may take minutes for that
        errors = _golden_errors(request, backend)
        feeds = _random_inputs(request)
        watch = _watch(request)
        latencies_ms = _latencies_ms(request, backend, feeds, started + request.time_limit_s, watch)
        measurement = _measurement(request, undisturbed(latencies_ms))
        energy = _energy(request, lambda: backend.run(feeds)) if watch is not None else None
    except (BackendError, BundleError) as error:
        return ProfileResult(ok=False, error=str(error))
    except MemoryError:
        return ProfileResult(ok=False, error=f"rung {load.rung}: not enough memory to run it")
    failure = _failure(load, errors)
    worst = max((error for error, _ in errors), default=None)
    return ProfileResult(
        ok=not failure,
        error=failure,
        measurement=None if failure else _with_energy(measurement, energy),
        golden_error=worst if worst is not None and math.isfinite(worst) else None,
        providers=backend.providers,
        fallback=backend.fallback,
        how=_how(request, len(latencies_ms), watch, energy) if watch is not None and energy is not None else None,
    )


def _compile(load: LoadRung) -> None:
    """Let a child process fill the cache of what a runtime compiles: that takes memory which later starts do not.

    Whatever is wrong with the rung is found and told when this process loads it.
    """
    if not load.cache or not hasattr(os, "fork"):
        return
    child = os.fork()
    if child == 0:
        try:
            end_with_parent()
            let_go_of_streams()
            open_backend(load)
        finally:
            os._exit(0)  # neither the parent's output nor its exit handlers are the child's
    os.waitpid(child, 0)


def _watch(request: ProfileRequest) -> Watch | None:
    # Imported only for whoever asks: a worker has no sensors in memory, so a trial should have none.
    if not request.sysfs_root:
        return None
    from secateur_agent.profiling.conditions import Watch

    return Watch(Path(request.sysfs_root), request.throttle_c)


def _energy(request: ProfileRequest, run: Callable[[], object]) -> Energy:
    from secateur_agent.profiling.energy import measure_energy

    return measure_energy(run, Path(request.sysfs_root))


def _how(request: ProfileRequest, runs: int, watch: Watch, energy: Energy) -> HowMeasured:
    from secateur_agent.profiling.conditions import merged

    model = f"estimated, {request.energy_per_ms_mw or 0:.0f} mW × time: {energy.source}"
    return HowMeasured(
        threads=request.load.threads,
        warmup=request.warmup,
        runs=runs,
        conditions=merged(watch.seen),
        slowed=watch.slowed,
        energy_source=energy.source if energy.energy_mj is not None else model,
    )


def _with_energy(measured: RungMeasurement, energy: Energy | None) -> RungMeasurement:
    if energy is None or energy.energy_mj is None:
        return measured
    energy_mj = float(f"{max(energy.energy_mj, 1e-9):.4g}")
    return msgspec.structs.replace(measured, energy_mj=energy_mj, energy_quality="measured")


def _golden_errors(request: ProfileRequest, backend: Backend) -> list[tuple[float, float]]:
    """Error and tolerance of each output tensor; nothing if there is no golden check."""
    if request.golden is None:
        return []
    arrays = golden_inputs(request.golden, request.load.inputs)
    outputs = backend.run({spec.name: array for spec, array in zip(request.load.inputs, arrays)})
    return golden_errors(request.golden, outputs)


def _failure(load: LoadRung, errors: Sequence[tuple[float, float]]) -> str:
    for spec, (error, tolerance) in zip(load.outputs, errors):
        if not error <= tolerance:
            output = f"output {spec.name}: " if len(errors) > 1 else ""
            return f"rung {load.rung}: {output}golden outputs differ by {error:.3g}, more than the tolerance {tolerance:.3g}"
    return ""


def _random_inputs(request: ProfileRequest) -> dict[str, NDArray[Any]]:
    specs = request.load.inputs
    if request.golden is None:
        arrays = noise_inputs(specs, _SEED)
    else:
        arrays = golden_inputs(msgspec.structs.replace(request.golden, seed=request.golden.seed + _SEED + 1), specs)
    return {spec.name: array for spec, array in zip(specs, arrays)}


def _latencies_ms(
    request: ProfileRequest, backend: Backend, feeds: Mapping[str, NDArray[Any]], deadline_s: float, watch: Watch | None
) -> list[float]:
    for _ in range(request.warmup):
        if time.monotonic() >= deadline_s:
            break
        backend.run(feeds)
    if watch is not None:
        watch.look()  # under load: an idle processor has a low clock
    latencies: list[float] = []
    enough_s = time.monotonic() + request.min_time_s
    while len(latencies) < request.runs or (time.monotonic() < enough_s and len(latencies) < _MAX_RUNS):
        if latencies and time.monotonic() >= deadline_s:
            break
        began = time.perf_counter()
        backend.run(feeds)
        latencies.append((time.perf_counter() - began) * 1e3)
    if watch is not None:
        watch.look()
    return latencies


def undisturbed(latencies_ms: list[float]) -> list[float]:
    """Return the quieter half of ten equal stretches of a measurement.

    What other processes do on the device for a moment should not make a rung look slow for good. Fewer than a hundred runs
    are returned as they are.
    """
    if len(latencies_ms) < 10 * _BLOCKS:
        return latencies_ms
    blocks = sorted(np.array_split(np.asarray(latencies_ms), _BLOCKS), key=lambda block: float(np.median(block)))
    return [float(value) for block in blocks[: _BLOCKS // 2] for value in block]


def _measurement(request: ProfileRequest, latencies_ms: list[float]) -> RungMeasurement:
    p50, p95 = (_short(max(float(value), 1e-6)) for value in np.percentile(latencies_ms, [50, 95]))
    peak_mb = peak_rss_mb()
    if peak_mb is None:
        raise BackendError(f"rung {request.load.rung}: this system does not tell the memory of a process")
    power_mw = request.energy_per_ms_mw
    return RungMeasurement(
        rung=request.load.rung,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        peak_rss_mb=_short(peak_mb),
        # 1 mW for 1 ms is 1 µJ.
        energy_mj=None if power_mw is None else float(f"{power_mw * p50 / 1000:.6g}"),
        energy_quality="unavailable" if power_mw is None else "estimated",
    )


def _short(value: float) -> float:
    """Four digits are more than a measurement is worth, and these travel in every reported shadow."""
    return float(f"{value:.4g}")


def main() -> int:
    """Read a request, write the result; see the module's docstring."""
    try:
        result = profile(msgspec.json.decode(sys.stdin.buffer.read(), type=ProfileRequest))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        result = ProfileResult(ok=False, error=f"profile request: {error}")
    except Exception as error:  # a broken runtime must still give one line
        result = ProfileResult(ok=False, error=f"profile: {type(error).__name__}: {one_line(error)}")
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
