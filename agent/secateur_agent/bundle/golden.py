"""Golden checks: does a rung compute on this device what the host saw? (``docs/bundle.md``)"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import BundleError, Golden, GoldenOutput, TensorSpec

_MAX_INPUT_VALUES = 1 << 26
_INTEGERS = {"INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_}


def golden_inputs(golden: Golden, inputs: Sequence[TensorSpec]) -> list[NDArray[Any]]:
    """Generate the inputs of a golden check.

    Args:
        golden: seed and value range.
        inputs: the network's inputs; −1 in a shape becomes 1.

    Returns:
        One array per input, of its element type. Integers are the whole numbers from the lowest to the highest value.

    Raises:
        BundleError: if an input would be absurdly large.
    """
    arrays: list[NDArray[Any]] = []
    block = 0
    if golden.ranges and len(golden.ranges) != len(inputs):
        raise BundleError(f"golden check: {len(golden.ranges)} ranges for {len(inputs)} inputs")
    for number, spec in enumerate(inputs):
        low, high = golden.ranges[number] if golden.ranges else (golden.low, golden.high)
        shape = [1 if size == -1 else size for size in spec.shape]
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if any(size < 0 for size in shape) or count > _MAX_INPUT_VALUES:
            raise BundleError(f"input {spec.name}: shape {list(spec.shape)} cannot be generated")
        blocks = -(-count // 8)
        raw = b"".join(hashlib.sha256(b"secateur-golden:%d:%d" % (golden.seed, block + i)).digest() for i in range(blocks))
        block += blocks
        unit = (np.frombuffer(raw, "<u4")[:count] >> 8).astype(np.float64) / 2**24
        if spec.datatype == "FP32":
            values = (low + (high - low) * unit).astype(np.float32)
        else:
            values = np.floor(low + (high + 1 - low) * unit).astype(_INTEGERS[spec.datatype])
        arrays.append(values.reshape(shape))
    return arrays


def noise_inputs(inputs: Sequence[TensorSpec], seed: int) -> list[NDArray[Any]]:
    """Return inputs to time a network with: noise, and of integers 0, for any other may be no valid index.

    Args:
        inputs: the network's inputs.
        seed: of the noise.

    Raises:
        BundleError: if an input would be absurdly large.
    """
    ranges = tuple((-1.0, 1.0) if spec.datatype == "FP32" else (0.0, 0.0) for spec in inputs)
    return golden_inputs(Golden(seed=seed, low=0.0, high=0.0, ranges=ranges, outputs=(0.0,), tolerance=0.0), inputs)


def golden_error(golden: Golden | GoldenOutput, output: NDArray[np.generic]) -> float:
    """Return the largest absolute difference between one output tensor and what is expected (inf if not finite or too
    short)."""
    got = np.asarray(output, np.float64).ravel()[: len(golden.outputs)]
    if got.size != len(golden.outputs) or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - np.asarray(golden.outputs)).max(initial=0.0))


def golden_errors(golden: Golden, outputs: Sequence[NDArray[np.generic]]) -> list[tuple[float, float]]:
    """Return `golden_error` and tolerance for every output tensor that the check knows.

    Raises:
        BundleError: if there are fewer outputs.
    """
    expected: list[Golden | GoldenOutput] = [golden, *golden.others]
    if len(outputs) < len(expected):
        raise BundleError(f"golden check: {len(expected)} outputs are expected, there are {len(outputs)}")
    return [(golden_error(one, output), one.tolerance) for one, output in zip(expected, outputs)]
