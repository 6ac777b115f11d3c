"""TFLite files in both of its runtimes, each in an environment of a device: made by ``make test``."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from secateur.assembly import tensor_specs
from secateur.ir import Network
from secateur_agent.inference.control import LoadRung

from .case import NoDataError

ROOT = Path(__file__).parents[2]
RUNTIMES = {"tflite": "ai-edge-litert", "tflite-runtime": "tflite-runtime 2.14"}
"""Environment (its folder is .venv-NAME) → what runs there."""


def outputs_in(runtime: str, data: bytes, network: Network, x: NDArray[np.float32], work: Path) -> NDArray[np.float32]:
    """Return what a file computes in one of the runtimes, by the agent's backend.

    Args:
        runtime: a key of `RUNTIMES`.
        data: the file.
        network: that it was written from.
        x: samples.
        work: folder for files in between.

    Raises:
        NoDataError: if the environment is not there.
    """
    python = ROOT / f".venv-{runtime}" / "bin" / "python"
    if not python.exists():
        raise NoDataError(f"there is no environment {python.parents[1]}; 'make test' makes it")
    inputs, outputs = tensor_specs(network)
    path = work / "lite.model"
    path.write_bytes(data)
    load = LoadRung(
        rung="r0-int8",
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        precision="int8",
        name="lite",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        runtime="tflite",
    )
    (work / "request.json").write_bytes(msgspec.json.encode(load))
    np.save(work / "x.npy", x)
    command = [str(python), str(ROOT / "tests" / "run_rung.py"), str(work)]
    subprocess.run(command, check=True, capture_output=True)
    return np.load(work / "y.npy")
