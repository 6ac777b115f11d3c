"""Case ``worker_memory``: the memory that is planned for a worker against what a fresh one takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np

from secateur_agent.inference.control import LoadRung
from secateur_agent.inference.runtimes import backend_module
from secateur_agent.profiling.measure import ProfileRequest, ProfileResult
from secateur_profiles import load as load_profile

from .case import Measured, say
from .memory_ladders import NAMES, memory_ladder
from .networks import PROFILE

BOARDS = (PROFILE, "android-phone")
"""A profile for each runtime; both run here."""
PRECISIONS = ("fp32", "int8")
REPEATS = 3
RUNS = 20
_BARE = """
import importlib
import secateur_agent.profiling.rung
from secateur_agent.profiling.memory import peak_rss_mb
importlib.import_module({module!r})
print(peak_rss_mb())
"""


def measure(work: Path) -> list[Measured]:
    """Measure every rung of every network in fresh processes, and a process without a model."""
    return [each for board in BOARDS for each in _of_board(board, work)]


def _of_board(board: str, work: Path) -> list[Measured]:
    profile = load_profile(board)
    runtime = profile.runtime.name
    bare_mb = float(np.median([_bare_mb(runtime) for _ in range(REPEATS)]))
    say(f"the bare {runtime} takes {bare_mb:.1f} MB, the profile {board} says {profile.memory.runtime_base_mb:g}")
    found = []
    for name, title in NAMES.items():
        for precision in PRECISIONS:
            ratios = []
            for rung in memory_ladder(name, precision, work, board):
                measured_mb = float(np.median([_peak_mb(rung.load) for _ in range(REPEATS)]))
                planned_mb = rung.planned_mb - profile.memory.runtime_base_mb
                ratios.append(planned_mb / (measured_mb - bare_mb))
                say(f"{rung.load.rung}: planned {planned_mb:.1f} MB, measured {measured_mb - bare_mb:.1f}: {ratios[-1]:.3f}")
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            case = f"{title}, {runtime}, {precision}, widths from 1 to a quarter: {told}"
            found.append(Measured("worker-memory", case, max(abs(ratio - 1) for ratio in ratios)))
    return found


def _bare_mb(runtime: str) -> float:
    command = [sys.executable, "-c", _BARE.format(module=backend_module(runtime))]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _peak_mb(load: LoadRung) -> float:
    request = msgspec.json.encode(ProfileRequest(load=load, runs=RUNS))
    command = [sys.executable, "-m", "secateur_agent.profiling.rung"]
    ended = subprocess.run(command, input=request, capture_output=True, check=False)
    result = msgspec.json.decode(ended.stdout, type=ProfileResult)
    if result.measurement is None:
        raise RuntimeError(f"{load.path}: {result.error}")
    return result.measurement.peak_rss_mb
