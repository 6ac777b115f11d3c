"""What an operator's time depends on besides its widths: the key under which latency tables keep it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal

from msgspec import Meta

Size = Annotated[int, Meta(ge=1, le=1 << 20)]
Sizes = Annotated[tuple[Size, ...], Meta(max_length=4)]
Name = Annotated[str, Meta(max_length=64)]
Kind = Literal["", "dense", "depthwise", "grouped"]


@dataclass(frozen=True)
class Signature:
    """An operator without its widths.

    Attributes:
        op: of the normal form, such as ``Conv``.
        size_in: positions of its first input: (height, width), (time,), or of a fully connected layer all axes but the last.
        size_out: likewise of its output.
        kernel: of a convolution or pool.
        strides: likewise.
        dilations: likewise, empty if all are 1.
        groups: how a convolution's channels are connected; empty for other operators.
        activation: operator behind it that the runtime computes with it, ``Relu``, ``Clip`` or none.
    """

    op: Name
    size_in: Sizes = ()
    size_out: Sizes = ()
    kernel: Sizes = ()
    strides: Sizes = ()
    dilations: Sizes = ()
    groups: Kind = ""
    activation: Name = ""

    @property
    def family(self) -> tuple[object, ...]:
        """What is left without the sizes and the activation: signatures of one family differ in the amount of work."""
        return (self.op, self.kernel, self.strides, self.dilations, self.groups)

    def work(self, channels_in: int, channels_out: int) -> tuple[int, int, int]:
        """Return multiply-accumulates, elements of weights, and elements read and written at these widths, batch 1.

        Grouped convolutions count as dense ones: how many groups there are is not in the signature.
        """
        positions = prod(self.size_out)
        weights = 0
        if self.op == "Linear" or self.groups in ("dense", "grouped"):
            weights = prod(self.kernel) * channels_in * channels_out
        elif self.groups == "depthwise":
            weights = prod(self.kernel) * channels_out
        inputs = 2 if self.op in TWO_INPUTS else 1
        return weights * positions, weights, inputs * channels_in * prod(self.size_in) + channels_out * positions

    def __str__(self) -> str:
        sizes = "×".join(map(str, self.size_in)) or "1"
        parts = [self.groups, self.op, "×".join(map(str, self.kernel)), f"at {sizes}"]
        if any(stride > 1 for stride in self.strides):
            parts.append("stride " + "×".join(map(str, self.strides)))
        return " ".join(part for part in [*parts, self.activation and f"with {self.activation}"] if part)


@dataclass(frozen=True)
class SizedOperator:
    """An operator with its widths: one thing to time, on this machine or another."""

    signature: Signature
    channels_in: Annotated[int, Meta(ge=1, le=1 << 20)]
    channels_out: Annotated[int, Meta(ge=1, le=1 << 20)]

    def __str__(self) -> str:
        return f"{self.signature}, {self.channels_in} → {self.channels_out} channels"


TWO_INPUTS = ("Add", "Sub", "Mul")
"""Operators that read two tensors of one shape."""
