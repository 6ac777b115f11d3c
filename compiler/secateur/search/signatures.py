"""From an operator of a network to its signature."""

from __future__ import annotations

from secateur.ir import Network, Node, Signature
from secateur.ir.signature import Kind
from secateur.search.work import Shapes

_ACTIVATIONS = ("Relu", "Clip")


def fused_activations(network: Network) -> dict[str, str]:
    """Return the output of an operator → the activation behind it (and its scale and shift) that the runtime fuses into it.

    Only what nothing else reads can be fused.
    """
    readers = network.consumers()
    found = {}
    for node in network.nodes:
        last = node.output
        while len(readers.get(last, ())) == 1 and last not in network.outputs:
            reader = readers[last][0]
            if reader.op in _ACTIVATIONS:
                found[node.output] = reader.op
            if reader.op != "Affine":
                break
            last = reader.output
    return found


def signature_of(node: Node, shapes: Shapes, activation: str = "") -> Signature:
    """Return the signature of an operator.

    Args:
        node: the operator.
        shapes: of it, without the batch, at any widths.
        activation: that the runtime fuses into it.
    """
    if node.op == "Linear":
        return Signature("Linear", shapes.inputs[0][:-1], shapes.output[:-1], activation=activation)
    size_in, size_out = shapes.inputs[0][1:], shapes.output[1:]
    if node.op == "Conv":
        per_group, groups = shapes.weights[0][1], node.attrs["groups"]
        kind: Kind = "dense" if groups == 1 else "depthwise" if per_group == 1 else "grouped"
        return Signature(
            "Conv", size_in, size_out, shapes.weights[0][2:], *_window(node), groups=kind, activation=activation
        )
    kernel = tuple(node.attrs.get("kernel_shape", ()))
    return Signature(node.op, size_in, size_out, kernel, *(_window(node) if kernel else ((), ())), activation=activation)


def _window(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides, and dilations unless all are 1."""
    dilations = tuple(node.attrs.get("dilations", ()))
    return tuple(node.attrs["strides"]), dilations if any(step > 1 for step in dilations) else ()
