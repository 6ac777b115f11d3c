"""Runs rungs on samples in whatever environment this is started in, as the agent's worker would: for tests of runtimes.

Usage: python run_rung.py FOLDER…: each has ``request.json`` (a `LoadRung`) and ``x.npy``, and gets the output, ``y.npy``.
Prints the runtime, its version, numpy's, and what runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np

from secateur_agent.inference.backend import open_backend
from secateur_agent.inference.control import LoadRung
from secateur_agent.runtime_versions import runtime_version


def main() -> None:
    """Load each rung and run all of its samples in batches."""
    for folder in map(Path, sys.argv[1:]):
        load = msgspec.json.decode((folder / "request.json").read_bytes(), type=LoadRung)
        backend, x = open_backend(load), np.load(folder / "x.npy")
        name = load.inputs[0].name
        parts = [backend.run({name: x[start : start + 64]})[0] for start in range(0, len(x), 64)]
        np.save(folder / "y.npy", np.concatenate(parts))
        print(load.runtime, runtime_version(load.runtime), "numpy", np.__version__, "runs", *backend.providers)
        backend.close()


if __name__ == "__main__":
    main()
