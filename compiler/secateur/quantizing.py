"""How a rung becomes int8: corrected for what rounding its weights does, with the ranges that suit it best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from secateur.evaluation import Session
from secateur.ir import PRECISIONS, Network, Samples, arrays_of, take
from secateur.master import Indexes, Master
from secateur.quantization import CALIBRATORS, Ranges, calibrate, dequantized, measure_ranges, observe
from secateur.tuning import measure_statistics, recalibrate
from secateur.twin import outputs_of
from secateur.twin.distance import output_distance
from secateur.writing import rung_file

UNCORRECTED = "min-max, uncorrected"
MOST, FEWEST, ELEMENTS = 128, 16, 1 << 25
"""Samples that calibrators are compared on: as many as have so many elements of the network's largest tensor."""


@dataclass(frozen=True)
class QuantizedRung:
    """A rung ready to be written.

    Attributes:
        network: with private tables that make up for rounded weights.
        ranges: of its tensors; None if they stay float.
        calibrator: that chose them, or `UNCORRECTED` if tables are as they were; empty if there was nothing to choose.
        tried: calibrator → distance of the file's outputs from those of the float rung.
    """

    network: Network
    ranges: Ranges | None = None
    calibrator: str = ""
    tried: Mapping[str, float] = field(default_factory=dict)


def stored(master: Master, network: Network, index: Indexes) -> Network:
    """Return a rung with the weights that its file has: those of the int8 base, as float32."""
    whole = dequantized(master.quantized)
    weights = {name: w[np.ix_(*index[name])] for name, w in whole.items() if name in index}
    return network.with_values(weights={**network.weights, **weights})


def corrected(master: Master, network: Network, index: Indexes) -> Network:
    """Give every channel of a rung with rounded weights the mean and deviation that it has with exact ones.

    Nagel et al.: Data-Free Quantization through Weight Equalization and Bias Correction, ICCV 2019, section 4.2; here by
    what calibration inputs show, and of deviations too: private tables cost nothing.

    Returns:
        The rung with its exact weights and the private tables that make up for rounded ones.
    """
    goals = measure_statistics(network, master.calibration)
    tables = recalibrate(stored(master, network, index), goals, master.calibration)
    return network.with_values(tables=tables)


def judged_on(network: Network, inputs: Samples) -> Samples:
    """Return as many samples as calibrators are compared on."""
    largest = max(math.prod(shape[1:]) for shape in network.shapes.values())
    return take(inputs, slice(0, max(FEWEST, min(MOST, ELEMENTS // largest))))


def file_distance(data: bytes, inputs: Samples, expected: Samples) -> float:
    """Return how far a file's outputs are from others, by the distance that tuning minimises; infinite if one is no number.

    Args:
        data: a model file.
        inputs: (samples, …).
        expected: outputs of another network for them.
    """
    got, wanted = (arrays_of(each) for each in (Session(data).outputs(inputs), expected))
    pairs = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(got, wanted)]
    found = sum(float(output_distance(a, b)) for a, b in pairs if b.is_floating_point())
    return found if math.isfinite(found) else math.inf


def quantize_rung(
    master: Master, network: Network, index: Indexes, precision: str, judged: Samples, runtime: str = "onnxruntime"
) -> QuantizedRung:
    """Correct a rung, and choose the ranges of its tensors.

    Args:
        master: what it is cut from.
        network: the rung in float.
        index: weight → kept indices of each axis.
        precision: of its file.
        judged: validation inputs, on which calibrators are compared.
        runtime: that reads the file.
    """
    kind = PRECISIONS[precision]
    if not kind.integer:
        return QuantizedRung(network)
    made = corrected(master, network, index)
    if not kind.activations:
        return QuantizedRung(made)
    rough = stored(master, made, index)
    widest = measure_ranges(rough, master.calibration)
    histograms = observe(rough, judged_on(rough, master.calibration), widest)
    few = judged_on(network, judged)
    expected = outputs_of(network, few)

    def distance(candidate: Network, ranges: Ranges) -> float:
        return file_distance(rung_file(master, candidate, index, precision, ranges, runtime), few, expected)

    candidates = {name: (made, calibrate(name, histograms, widest)) for name in CALIBRATORS}
    # Where eight bits of activations are what costs, the correction is chance, for better or worse.
    candidates[UNCORRECTED] = (network, measure_ranges(stored(master, network, index), master.calibration))
    tried = {name: distance(*candidate) for name, candidate in candidates.items()}
    chosen = min(tried, key=lambda name: tried[name])
    return QuantizedRung(*candidates[chosen], chosen, tried)
