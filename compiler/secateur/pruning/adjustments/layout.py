"""Operators that move elements count them."""

from __future__ import annotations

from typing import Any

from secateur.ir import Node
from secateur.pruning.adjustments.registry import Change, adjustment


@adjustment("Pad")
def _pad(node: Node, change: Change) -> dict[str, Any]:
    begins, ends = list(node.attrs["begins"]), list(node.attrs["ends"])
    for axis in range(1, len(begins)):
        left = change.left(node.output, axis)
        first, last = begins[axis], change.network.shapes[node.output][axis] - ends[axis]
        begins[axis], ends[axis] = int((left < first).sum()), int((left >= last).sum())
    return {"begins": tuple(begins), "ends": tuple(ends)}


@adjustment("Slice")
def _slice(node: Node, change: Change) -> dict[str, Any]:
    starts, stops = list(node.attrs["starts"]), list(node.attrs["stops"])
    for index, axis in enumerate(node.attrs["axes"]):
        if node.attrs["steps"][index] == 1:
            left = change.left(node.inputs[0], axis)
            starts[index], stops[index] = int((left < starts[index]).sum()), int((left < stops[index]).sum())
    return {"starts": tuple(starts), "stops": tuple(stops)}
