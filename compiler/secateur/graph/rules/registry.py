"""The registry of operator rules."""

from __future__ import annotations

from collections.abc import Callable

from secateur.graph.ties import Ties
from secateur.ir import Node
from secateur.ir.registration import Registry

Rule = Callable[[Node, Ties], None]
RULES: Registry[Rule] = Registry("rule of")


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of these operators."""

    def register(function: Rule) -> Rule:
        RULES.register(names, function)
        return function

    return register
