"""For each operator two networks whose difference in time is a few more of it, as it stands in a rung.

An operator by itself is no measure: calling the runtime takes longer than a small operator does, and layouts are
converted at the borders of the graph, not between operators. So an operator is repeated, and what a longer network takes
more than a shorter one is shared out. Three forms:

- a *chain* for what keeps the shape: convolutions and fully connected layers, there and back if the widths differ;
- *behind a convolution*: additions, activations and pools, each behind 1×1 convolutions whose own time is subtracted;
- a *fan* for what changes the shape (stride, few channels): several read one tensor, and their outputs are added up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from secateur.ir import Network, Signature, SizedOperator
from secateur.ir.signature import TWO_INPUTS
from secateur.measure.drafting import Draft

NARROW = 8
"""Fewer channels than this have kernels of their own: a chain there and back would mix two."""
_UNARY = ("Relu", "Clip", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Softplus")
_POOLS = ("GlobalAveragePool", "MaxPool", "AveragePool")


@dataclass(frozen=True)
class Probe:
    """How one operator is timed.

    Attributes:
        target: what is timed.
        lengths: how often the shorter and the longer network repeat the unit.
        per_unit: how often a unit holds the operator.
        others: what else a unit holds; timed by itself and subtracted.
        build: from a length to the network.
    """

    target: SizedOperator
    lengths: tuple[int, int]
    per_unit: int
    others: tuple[SizedOperator, ...]
    build: Callable[[int], Network]


def probe_for(operator: SizedOperator) -> Probe | None:
    """Return how to time an operator, or None if it is none that probes are made of."""
    signature = operator.signature
    same_size = signature.size_in == signature.size_out
    if signature.op == "Linear":
        return _chain(operator)
    if signature.op == "Conv":
        if signature.groups not in ("dense", "depthwise"):
            return None
        if signature.groups == "depthwise" and operator.channels_in != operator.channels_out:
            return None
        wide = operator.channels_in == operator.channels_out or min(operator.channels_in, operator.channels_out) >= NARROW
        return _chain(operator) if same_size and wide else _fan(operator)
    if operator.channels_in != operator.channels_out or not signature.size_in:
        return None
    if signature.op in TWO_INPUTS or (signature.op in _UNARY and same_size):
        return _behind(operator)
    return _fan_behind(operator) if signature.op in _POOLS else None


def mirrored(operator: SizedOperator) -> SizedOperator:
    """Return the operator with its widths exchanged; a chain there and back times both at once, each as half of it."""
    return SizedOperator(operator.signature, operator.channels_out, operator.channels_in)


def _lengths(operator: SizedOperator) -> tuple[int, int]:
    """Small operators are repeated more often: a run's own time varies by some microseconds."""
    macs, _, moved = operator.signature.work(operator.channels_in, operator.channels_out)
    work = macs + 4 * moved
    return (2, 18) if work < 200_000 else (1, 7) if work < 4_000_000 else (1, 4)


def _pointwise(size: tuple[int, ...], width: int) -> SizedOperator:
    """The 1×1 convolution that stands before other operators."""
    ones = (1,) * len(size)
    return SizedOperator(Signature("Conv", size, size, ones, ones, groups="dense"), width, width)


def _addition(size: tuple[int, ...], width: int) -> SizedOperator:
    return SizedOperator(Signature("Add", size, size), width, width)


def _start(draft: Draft, size: tuple[int, ...], width: int, linear: bool = False) -> str:
    return draft.input((*size, width) if linear else (width, *size))


def _chain(operator: SizedOperator) -> Probe:
    signature, a, b = operator.signature, operator.channels_in, operator.channels_out

    def build(length: int) -> Network:
        draft = Draft()
        x = _start(draft, signature.size_in, a, signature.op == "Linear")
        for _ in range(length):
            x = draft.apply(signature, [x], b)
            if a != b:
                x = draft.apply(signature, [x], a)
        return draft.finish(x)

    return Probe(operator, _lengths(operator), 1 if a == b else 2, (), build)


def _behind(operator: SizedOperator) -> Probe:
    signature, width = operator.signature, operator.channels_in
    before, branches = _pointwise(signature.size_in, width), signature.op in TWO_INPUTS

    def build(length: int) -> Network:
        draft = Draft()
        x = draft.apply(before.signature, [_start(draft, signature.size_in, width)], width)
        for _ in range(length):
            y = draft.apply(before.signature, [x], width)
            if branches:  # as in a residual block: what is added has been read for the last time, and may be overwritten
                y = draft.apply(before.signature, [y], width)
            x = draft.apply(signature, [x, y] if branches else [y], width)
        return draft.finish(x)

    return Probe(operator, _lengths(operator), 1, (before, before) if branches else (before,), build)


def _fan(operator: SizedOperator) -> Probe:
    signature, a, b = operator.signature, operator.channels_in, operator.channels_out
    plain, join = replace(signature, activation=""), _addition(signature.size_out, b)

    def build(length: int) -> Network:
        draft = Draft()
        x = _start(draft, signature.size_in, a)
        if a >= NARROW:  # so that the layout is that between operators
            x = draft.apply(_pointwise(signature.size_in, a).signature, [x], a)
        total = draft.apply(plain, [x], b)
        for _ in range(length):
            total = draft.apply(join.signature, [total, draft.apply(plain, [x], b)], b)
        return draft.finish(total)

    return Probe(operator, _lengths(operator), 1, (join,), build)


def _fan_behind(operator: SizedOperator) -> Probe:
    signature, width = operator.signature, operator.channels_in
    before, join = _pointwise(signature.size_in, width), _addition(signature.size_out, width)

    def build(length: int) -> Network:
        draft = Draft()
        x = draft.apply(before.signature, [_start(draft, signature.size_in, width)], width)

        def branch() -> str:
            return draft.apply(signature, [draft.apply(before.signature, [x], width)], width)

        total = branch()
        for _ in range(length):
            total = draft.apply(join.signature, [total, branch()], width)
        return draft.finish(total)

    return Probe(operator, _lengths(operator), 1, (before, join), build)
