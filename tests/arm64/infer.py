"""Runs on the arm64 machine: materialises every rung of a bundle and infers its golden input. Prints what ran.

Usage: python infer.py PACKAGES BUNDLE ROOT_JSON
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import numpy as np

from secateur_agent.bundle.golden import golden_inputs
from secateur_agent.bundle.reader import BundleFolder
from secateur_agent.inference.backend import open_backend
from secateur_agent.inference.control import LoadRung
from secateur_agent.runtime_versions import runtime_version
from secateur_agent.trust import load_root


def main() -> None:
    """Run the rungs."""
    bundle = BundleFolder(Path(sys.argv[2]), load_root(Path(sys.argv[3])))
    manifest = bundle.manifest
    for rung in manifest.rungs:
        file = bundle.path / f"{rung.id}.onnx"
        file.write_bytes(bundle.materialise(rung.id))
        load = LoadRung(
            rung=rung.id,
            path=str(file),
            sha256=rung.file_sha256,
            precision=rung.precision,
            name=manifest.name,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            runtime="onnxruntime",
        )
        backend = open_backend(load)
        (x,) = golden_inputs(rung.golden, manifest.inputs)
        (y,) = backend.run({manifest.inputs[0].name: x})
        np.testing.assert_allclose(y.ravel(), rung.golden.outputs, atol=rung.golden.tolerance)
        backend.close()
        print(platform.machine(), rung.id, "onnxruntime", runtime_version("onnxruntime"), "numpy", np.__version__)


if __name__ == "__main__":
    main()
