"""Checks that the normal form computes what ONNX Runtime makes of the user's file; else all that follows proves nothing."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import torch

from secateur.ir import Network, UnsupportedModelError
from secateur.twin import fixed_values, random_input, run

TOLERANCE = 1e-4
"""Largest difference, relative to the largest output, that float32 may cause."""


def check_agreement(model: onnx.ModelProto, network: Network, what: str) -> None:
    """Compare the model in ONNX Runtime with its normal form in torch, on random inputs.

    Args:
        model: as the user gave it.
        network: its normal form.
        what: name for the error line.

    Raises:
        UnsupportedModelError: if they differ, or ONNX Runtime cannot run the model.
    """
    generator = torch.Generator().manual_seed(0)
    batch = [value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input if value.name in network.inputs]
    size = next((fixed for fixed in batch if fixed > 0), 2)
    feeds = {name: random_input(network, name, size, generator).numpy() for name in network.inputs}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        expected = session.run(list(network.outputs), feeds)
    except Exception as error:  # ONNX Runtime's errors have no common type
        raise UnsupportedModelError(f"{what}: ONNX Runtime cannot run it: {' '.join(str(error).split())[:300]}") from None
    with torch.no_grad():
        got = run(network, {name: torch.from_numpy(value) for name, value in feeds.items()}, fixed_values(network))
    for name, reference in zip(network.outputs, expected):
        value = got[name].numpy()
        if value.shape != reference.shape:
            raise UnsupportedModelError(f"{what}: output {name} has shape {reference.shape}, its normal form {value.shape}")
        difference = float(np.abs(value.astype(np.float64) - reference).max() / max(float(np.abs(reference).max()), 1e-6))
        if not difference <= TOLERANCE:
            raise UnsupportedModelError(
                f"{what}: output {name}: the normal form differs from ONNX Runtime by {difference:.1e} (relative); report it"
            )
