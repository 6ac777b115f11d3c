"""Reshapes write down the sizes of their output."""

from __future__ import annotations

from typing import Any

from secateur.ir import Node
from secateur.pruning.adjustments.registry import Change, adjustment


@adjustment("Reshape")
def _reshape(node: Node, change: Change) -> dict[str, Any]:
    return {"shape": change.shapes[node.output]}
