"""Pools."""

from __future__ import annotations

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter
from secateur.load.converters.spatial import spatial


@converter("MaxPool", "AveragePool")
def _pool(node: Converting) -> None:
    kernel = tuple(node.attrs["kernel_shape"])
    if len(kernel) > 2:
        raise node.fail("only one and two spatial axes are supported")
    if node.op == "AveragePool" and kernel == node.shape()[2:] and not any(node.attrs.get("pads", ())):
        node.emit("GlobalAveragePool")
        return
    window, ceil_mode, extra = spatial(node, kernel), node.attrs.get("ceil_mode", 0), {}
    if node.op == "AveragePool":
        extra["count_include_pad"] = node.attrs.get("count_include_pad", 0)
        uneven = window["pads"][: len(kernel)] != window["pads"][len(kernel) :] and not extra["count_include_pad"]
        if uneven or ceil_mode or any(step != 1 for step in window["dilations"]):
            raise node.fail("average pools with uneven padding, ceil_mode or dilations are not supported")
    node.emit(node.op, kernel_shape=kernel, ceil_mode=ceil_mode, **extra, **window)


@converter("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Converting) -> None:
    node.emit(node.op)
