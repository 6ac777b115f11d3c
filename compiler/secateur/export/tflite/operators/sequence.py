"""Products of computed tensors, embeddings, constants for each sample, masks."""

from __future__ import annotations

from secateur.export.tflite.flatbuffer import Int
from secateur.export.tflite.operators.elementwise import layout_of, operands
from secateur.export.tflite.operators.registry import writes
from secateur.export.tflite.rung import RungWriter, Unwritable
from secateur.ir import Node

_COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}


@writes("MatMul")
def _matmul(writer: RungWriter, node: Node, integer: bool) -> None:
    if len(node.inputs) != 2 or node.constants:
        raise Unwritable(node, "with a constant cannot be written")
    writer.operator("BATCH_MATMUL", [writer.get(name) for name in node.inputs], writer.new(node.output))


@writes("Embedding")
def _embedding(writer: RungWriter, node: Node, integer: bool) -> None:
    table = writer.shared(node.constants[0])
    writer.operator("GATHER", [table, writer.get(node.inputs[0])], writer.new(node.output), {0: Int(0)})


@writes("PerSample")
def _per_sample(writer: RungWriter, node: Node, integer: bool) -> None:
    shape = writer.sizes(writer.shape(node.output))
    writer.operator("RESHAPE", [writer.shared(node.constants[0]), shape], writer.new(node.output))


@writes(*_COMPARISONS)
def _compare(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    found = operands(writer, node, last)
    if len(found) == 1:
        if writer.kind(node.inputs[0]) != "<f4":
            raise Unwritable(node, "of integers with a number cannot be written")
        found.append(writer.scalar(float(node.attrs["value"])))
    writer.operator(_COMPARISONS[node.op], found, writer.new(node.output, last, kind="|b1"))


@writes("Not")
def _not(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x = writer.get(node.inputs[0], last)
    writer.operator("LOGICAL_NOT", [x], writer.new(node.output, last, kind="|b1"))


@writes("Cast")
def _cast(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x = writer.get(node.inputs[0], last)
    writer.operator("CAST", [x], writer.new(node.output, last, kind="<f4"))


@writes("Where")
def _where(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    found = operands(writer, node, last)
    computed = node.attrs["computed"]
    chosen, rest = dict(zip(computed, found)), iter(found[len(computed) :])
    if "c" not in computed:
        raise Unwritable(node, "with a constant condition cannot be written")
    three = [chosen[letter] if letter in chosen else next(rest) for letter in "cxy"]
    writer.operator("SELECT_V2", three, writer.new(node.output, last))
