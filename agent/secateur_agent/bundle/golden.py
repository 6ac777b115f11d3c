"""Golden checks: does a rung compute on this device what the host saw? (``docs/bundle.md``)"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import BundleError, Golden, TensorSpec

_MAX_INPUT_VALUES = 1 << 26


def golden_inputs(golden: Golden, inputs: Sequence[TensorSpec]) -> list[NDArray[np.float32]]:
    """Generate the inputs of a golden check.

    Args:
        golden: seed and value range.
        inputs: the network's inputs; −1 in a shape becomes 1.

    Returns:
        One float32 array per input.

    Raises:
        BundleError: if an input would be absurdly large.
    """
    arrays: list[NDArray[np.float32]] = []
    block = 0
    for spec in inputs:
        shape = [1 if size == -1 else size for size in spec.shape]
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if any(size < 0 for size in shape) or count > _MAX_INPUT_VALUES:
            raise BundleError(f"input {spec.name}: shape {list(spec.shape)} cannot be generated")
        blocks = -(-count // 8)
        raw = b"".join(hashlib.sha256(b"secateur-golden:%d:%d" % (golden.seed, block + i)).digest() for i in range(blocks))
        block += blocks
        unit = (np.frombuffer(raw, "<u4")[:count] >> 8).astype(np.float64) / 2**24
        arrays.append((golden.low + (golden.high - golden.low) * unit).astype(np.float32).reshape(shape))
    return arrays


def golden_error(golden: Golden, output: NDArray[np.generic]) -> float:
    """Return the largest absolute difference between the first output tensor and what is expected (inf if not finite
    or too short)."""
    got = np.asarray(output, np.float64).ravel()[: len(golden.outputs)]
    if got.size != len(golden.outputs) or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - np.asarray(golden.outputs)).max())
