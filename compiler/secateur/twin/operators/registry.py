"""The registry of what operators compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from secateur.ir.registration import Registry

Attrs = Mapping[str, Any]
Operator = Callable[[list[Tensor], Attrs], Tensor]
OPERATORS: Registry[Operator] = Registry("operator")


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Register a function as the meaning of these operators."""

    def register(function: Operator) -> Operator:
        OPERATORS.register(names, function)
        return function

    return register
