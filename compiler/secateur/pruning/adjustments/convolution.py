"""Convolutions count their groups."""

from __future__ import annotations

from typing import Any

from secateur.ir import Node
from secateur.pruning.adjustments.registry import Change, adjustment


@adjustment("Conv", "ConvTranspose")
def _convolution(node: Node, change: Change) -> dict[str, Any]:
    x = node.inputs[0]
    depthwise = node.attrs["groups"] == change.network.shapes[x][1] > 1
    return {"groups": change.shapes[x][1]} if depthwise else {}
