"""The gate: what a rung must show in the real runtime before it is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from secateur.evaluation.runtime import Session, snr_db
from secateur.ir import Samples, arrays_of, samples_of
from secateur_agent.bundle.golden import golden_inputs
from secateur_agent.bundle.manifest import Golden, GoldenOutput, TensorSpec

FLOAT_SNR_DB = 50.0
INT8_LOSS_DB = 3.0
GOOD_INT8_SNR_DB = 40.0
"""About what eight bits can give: above it, that ordinary quantization has still more (of smooth outputs) says nothing."""
GOLDEN_VALUES = 16


@dataclass(frozen=True)
class GateResult:
    """What the gate found. ``reason`` is empty if the rung may be shipped.

    Attributes:
        snr_db: against the same rung in torch.
        ordinary_snr_db: the same for this rung quantized by itself, with no shared weights; NaN for float.
    """

    snr_db: float
    ordinary_snr_db: float
    reason: str


def check_rung(
    data: bytes,
    reference: Samples,
    inputs: Samples,
    ordinary: bytes | None = None,
) -> GateResult:
    """Compare a rung in the runtime with the same rung in torch; a smoke test, the accuracy budget decides.

    Args:
        data: the model file.
        reference: outputs of the rung in torch for ``inputs``; every one is compared, the worst counts.
        inputs: validation inputs.
        ordinary: if its weights are int8, the rung quantized per channel on its own weights.
    """
    found_all = _ratios(reference, Session(data).outputs(inputs))
    found = float(np.min(found_all))  # what is not a number is the worst
    if ordinary is None:
        reason = "" if found >= FLOAT_SNR_DB else f"SNR {found:.1f} dB against torch, a float rung needs {FLOAT_SNR_DB:g}"
        return GateResult(found, float("nan"), reason)
    usual_all = _ratios(reference, Session(ordinary).outputs(inputs))
    lacking = [min(usual - INT8_LOSS_DB, GOOD_INT8_SNR_DB) - got for got, usual in zip(found_all, usual_all)]
    worst = int(np.argmax(lacking))  # of what is not a number, the first
    short, found, usual = not lacking[worst] <= 0, found_all[worst], usual_all[worst]
    reason = f"SNR {found:.1f} dB, ordinary per-channel quantization of this rung has {usual:.1f}" if short else ""
    return GateResult(found, usual, reason)


def _ratios(reference: Samples, got: Samples) -> list[float]:
    """SNR of each output; one of integers or truth values counts as exact or not at all."""
    return [snr_db(a.astype(np.float64), b) for a, b in zip(arrays_of(reference), arrays_of(got), strict=True)]


def golden_check(
    data: bytes,
    specs: Sequence[TensorSpec],
    seed: int,
    low: float,
    high: float,
    tolerance: float,
    ranges: Sequence[tuple[float, float]] = (),
) -> Golden:
    """Make the golden check that travels with a rung.

    Args:
        data: the model file.
        specs: the network's inputs.
        seed: of the generated input.
        low: smallest input value.
        high: largest input value.
        tolerance: what kernels of other processors may do differently, as a share of an output's range.
        ranges: smallest and largest value of each input, if there are several.
    """
    draft = Golden(seed=seed, low=low, high=high, ranges=tuple(ranges), outputs=(0.0,), tolerance=0.0)
    outputs = arrays_of(Session(data).outputs(samples_of(golden_inputs(draft, specs))))
    first, *others = [_expected(output, tolerance) for output in outputs]
    # Where the largest of several lies may differ between processors: later outputs of integers are not compared.
    exact = [one if output.dtype.kind == "f" else _NOTHING for one, output in zip(others, outputs[1:])]
    return msgspec.structs.replace(draft, outputs=first.outputs, tolerance=first.tolerance, others=tuple(exact))


def _expected(output: NDArray[Any], share: float) -> GoldenOutput:
    exact = output.ravel()[:GOLDEN_VALUES].astype(np.float64)
    span = float(exact.max() - exact.min()) + float(np.abs(exact).max())
    rounded = tuple(float(f"{value:.6g}") for value in exact)
    return GoldenOutput(outputs=rounded, tolerance=float(f"{share * span + 1e-5:.4g}"))


_NOTHING = GoldenOutput(outputs=(), tolerance=0.0)
