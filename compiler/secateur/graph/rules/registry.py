"""The registry of operator rules."""

from __future__ import annotations

from collections.abc import Callable

from secateur.graph.ties import Ties
from secateur.ir import Node

Rule = Callable[[Node, Ties], None]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of these operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register
