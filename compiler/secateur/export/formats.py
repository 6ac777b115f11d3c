"""Which file a runtime reads at a precision, and who writes it. A writer is a file that registers itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secateur.export.program import Program
from secateur.ir import ActivationParameters, Network, Precision, SecateurError
from secateur.ir.precision import PRECISIONS
from secateur.ir.registration import Registry

Index = Mapping[str, tuple[NDArray[np.int64], ...]]


@dataclass(frozen=True)
class Cut:
    """A rung as writers take it.

    Attributes:
        network: the cut network with the rung's tables.
        index: weight → kept indices of each axis of the base's.
        shapes: weight → its shape in the base.
        activations: tensor → its quantization parameters in this rung; empty if activations are float.
        weight_scales: weight → the quantization scale of each kept output channel, float32; only of those that are int8.
        groups: weight of a convolution → its groups in the base; those of the rung if it is not there.
    """

    network: Network
    index: Index
    shapes: Mapping[str, tuple[int, ...]]
    activations: Mapping[str, ActivationParameters] = field(default_factory=dict)
    weight_scales: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)


Writer = Callable[[Cut, Precision], Program]
_WRITERS: Registry[Writer] = Registry("writer of files")


def file_writer(runtime: str, *precisions: str) -> Callable[[Writer], Writer]:
    """Register a function as the writer of a runtime's files at these precisions."""

    def register(function: Writer) -> Writer:
        _WRITERS.register([f"{runtime} {precision}" for precision in precisions], function)
        return function

    return register


def writable(runtime: str) -> tuple[str, ...]:
    """Return the precisions that can be written for a runtime."""
    return tuple(name for name in PRECISIONS if f"{runtime} {name}" in _WRITERS)


def write_file(cut: Cut, runtime: str, precision: Precision) -> Program:
    """Write a rung.

    Args:
        cut: the rung.
        runtime: as profiles name it.
        precision: of the file.

    Raises:
        SecateurError: if there is no writer for that.
    """
    writer = _WRITERS.get(f"{runtime} {precision.name}")
    if writer is None:
        there = ", ".join(writable(runtime)) or "nothing"
        raise SecateurError(f"{runtime} at {precision.name} cannot be written; there is {there}")
    return writer(cut, precision)
