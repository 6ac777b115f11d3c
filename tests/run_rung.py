"""Runs a rung on samples in whatever environment this is started in, as the agent's worker would: for tests of runtimes.

Usage: python run_rung.py REQUEST.json INPUTS.npy OUTPUTS.npy; prints the runtime, its version and numpy's.
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
    """Load, run all samples in batches, save the first output."""
    request, inputs, outputs = map(Path, sys.argv[1:4])
    load = msgspec.json.decode(request.read_bytes(), type=LoadRung)
    backend, x = open_backend(load), np.load(inputs)
    name = load.inputs[0].name
    parts = [backend.run({name: x[start : start + 64]})[0] for start in range(0, len(x), 64)]
    np.save(outputs, np.concatenate(parts))
    print(load.runtime, runtime_version(load.runtime), "numpy", np.__version__, "runs", *backend.providers)


if __name__ == "__main__":
    main()
