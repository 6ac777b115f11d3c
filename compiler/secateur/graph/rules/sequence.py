"""Products of computed tensors, layer norm, embeddings, constants for each sample."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Node


@rule("MatMul")
def matmul(node: Node, ties: Ties) -> None:
    """What is summed over is tied; leading axes (heads) too; the free axes pass through."""
    (a, b), y = node.inputs, node.output
    last = ties.rank(y) - 1
    for axis in range(1, last - 1):
        ties.tie(tensor_axis(a, axis), tensor_axis(y, axis))
        ties.tie(tensor_axis(b, axis), tensor_axis(y, axis))
    ties.tie(tensor_axis(a, last), tensor_axis(b, last - 1))
    ties.sum_over(tensor_axis(a, last))
    ties.tie(tensor_axis(a, last - 1), tensor_axis(y, last - 1))
    ties.tie(tensor_axis(b, last), tensor_axis(y, last))


@rule("LayerNormalization")
def layer_norm(node: Node, ties: Ties) -> None:
    """A barrier along its axis: every element of the result depends on all of them."""
    ties.tie_tensors(node.inputs[0], node.output)
    ties.freeze(tensor_axis(node.output, node.attrs["axis"]), f"layer norm {node.source} depends on all of its axis")


@rule("Embedding")
def embedding(node: Node, ties: Ties) -> None:
    """The table's columns are the output's last axis; its rows are chosen by the input."""
    x, y, table = node.inputs[0], node.output, node.constants[0]
    last = ties.rank(y) - 1
    ties.tie_tensors(x, y, range(1, last))
    ties.tie(weight_axis(table, 1), tensor_axis(y, last))
    ties.freeze(weight_axis(table, 0), f"rows of the table {node.source}")


@rule("PerSample")
def per_sample(node: Node, ties: Ties) -> None:
    """A constant that is repeated for each sample; of the input only the number of samples counts."""
    for axis in range(1, ties.rank(node.output)):
        ties.tie(weight_axis(node.constants[0], axis), tensor_axis(node.output, axis))
