"""The registry of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secateur.ir import Node
from secateur.ir.registration import Registry


@dataclass(frozen=True)
class Shapes:
    """Shapes of one operator at given keep-counts, without the batch: inputs, output, and the weights that it uses."""

    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...]


Work = Callable[[Node, Shapes], int]
"""From an operator and its shapes to multiply-accumulates of one inference, batch 1."""
WORK: Registry[Work] = Registry("work of")


def work(*names: str) -> Callable[[Work], Work]:
    """Register a function as the work of these operators; one that has none does no multiplications to speak of."""

    def register(function: Work) -> Work:
        WORK.register(names, function)
        return function

    return register
