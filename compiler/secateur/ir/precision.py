"""The precisions of rungs: what of a network is stored and computed in fewer bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Precision:
    """One precision.

    Attributes:
        name: as profiles and rung ids have it.
        weights: numpy type of the shared weights of layers.
        activations: whether tensors between layers are int8, too.
        symmetric: whether zero is always 0, as TensorRT wants it.
        tolerance: how far golden outputs may be off on another processor, as a share of their range.
        title: for a person.
    """

    name: str
    weights: str
    activations: bool = False
    symmetric: bool = False
    tolerance: float = 1e-3
    title: str = ""

    @property
    def integer(self) -> bool:
        """Whether the shared weights are int8."""
        return self.weights == "|i1"

    @property
    def bytes_per_weight(self) -> int:
        """Bytes of a shared weight."""
        return np.dtype(self.weights).itemsize

    @property
    def bytes_per_activation(self) -> int:
        """Bytes of an element between layers."""
        return 1 if self.activations else 4

    def stored(self, weight: NDArray[np.floating]) -> NDArray[np.generic]:
        """Return a float weight as a base of this precision holds it, if it is not to be quantized."""
        return weight.astype("<f4" if self.integer else self.weights)


PRECISIONS: dict[str, Precision] = {
    precision.name: precision
    for precision in (
        Precision("fp32", "<f4", title="32-bit floating point"),
        Precision("fp16", "<f2", tolerance=1e-2, title="16-bit weights, computed in what the device prefers"),
        Precision("int8", "|i1", activations=True, tolerance=0.05, title="8-bit integers, each channel its own scale"),
        Precision("int8-weight-only", "|i1", tolerance=1e-2, title="8-bit weights, computed in 32-bit floating point"),
        Precision(
            "int8-symmetric",
            "|i1",
            activations=True,
            symmetric=True,
            tolerance=0.05,
            title="8-bit integers around 0",
        ),
    )
}
