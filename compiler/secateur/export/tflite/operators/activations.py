"""Functions of a single number: activations, exponentials, roots."""

from __future__ import annotations

from secateur.export.tflite import schema
from secateur.export.tflite.flatbuffer import Byte, Field, Float
from secateur.export.tflite.operators.elementwise import chain, layout_of, operands
from secateur.export.tflite.operators.registry import writes
from secateur.export.tflite.rung import RungWriter, Unwritable
from secateur.ir import ActivationParameters, Node

_UNARY = {"Exp": "EXP", "Log": "LOG", "Sqrt": "SQRT", "Neg": "NEG", "Abs": "ABS"}
_RESCALING = {"Relu": "RELU", "HardSwish": "HARD_SWISH"}
"""Operators whose integer kernels take any parameters."""
_FIXED = {"Sigmoid": ActivationParameters(1 / 256, -128), "Tanh": ActivationParameters(1 / 128, 0)}
"""Parameters that the integer kernels of an operator insist on."""


@writes(*_UNARY)
def _unary(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    writer.operator(_UNARY[node.op], [writer.get(node.inputs[0], last)], writer.new(node.output, last))


@writes("Sigmoid", "Tanh", integer=True)
def _squash(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    if integer:
        writer.set_parameters(node.output, _FIXED[node.op])
    name = "LOGISTIC" if node.op == "Sigmoid" else "TANH"
    x = writer.get(node.inputs[0], last, integer)
    writer.operator(name, [x], writer.new(node.output, last, integer), integer=integer)


@writes(*_RESCALING, integer=True)
def _rescaling(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x = writer.get(node.inputs[0], last, integer)
    writer.operator(_RESCALING[node.op], [x], writer.new(node.output, last, integer), integer=integer)


@writes("LeakyRelu", integer=True)
def _leaky_relu(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x, slope = writer.get(node.inputs[0], last, integer), float(node.attrs.get("alpha", 0.01))
    writer.operator("LEAKY_RELU", [x], writer.new(node.output, last, integer), {0: Float(slope)}, integer)


@writes("Clip")
def _clip(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x = writer.get(node.inputs[0], last)
    low, high = node.attrs.get("min"), node.attrs.get("max")
    if (low, high) == (0, 6):
        writer.operator("RELU6", [x], writer.new(node.output, last))
        return
    steps = [(name, bound) for name, bound in (("MAXIMUM", low), ("MINIMUM", high)) if bound is not None]
    chain(writer, node, x, last, [(name, [writer.scalar(float(bound))]) for name, bound in steps])


@writes("PRelu")
def _prelu(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x, slopes = operands(writer, node, last)
    rank = len(writer.network.shapes[node.output])
    if rank > 1:  # the operator wants the slopes without the batch, and as many axes as the rest has
        writer.operator("PRELU", [x, slopes], writer.new(node.output, last))
        return
    raise Unwritable(node, "of this rank cannot be written")


@writes("HardSigmoid")
def _hard_sigmoid(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    alpha, beta = float(node.attrs.get("alpha", 0.2)), float(node.attrs.get("beta", 0.5))
    steps = [
        ("MUL", [writer.scalar(6 * alpha)]),
        ("ADD", [writer.scalar(6 * beta)]),
        ("RELU6", []),
        ("MUL", [writer.scalar(1 / 6)]),
    ]
    chain(writer, node, writer.get(node.inputs[0], last), last, steps)


@writes("Softplus")
def _softplus(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x = writer.get(node.inputs[0], last)
    writer.operator("ADD", _softplus_parts(writer, node, x, last), writer.new(node.output, last))


@writes("Mish")
def _mish(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x, shape = writer.get(node.inputs[0], last), writer.placed(node.output, last)
    soft = writer.operator("ADD", _softplus_parts(writer, node, x, last), writer.temporary(shape))
    bell = writer.operator("TANH", [soft], writer.temporary(shape))
    writer.operator("MUL", [x, bell], writer.new(node.output, last))


def _softplus_parts(writer: RungWriter, node: Node, x: int, last: bool) -> list[int]:
    """max(x, 0) and log(1 + exp(−|x|)): their sum is log(1 + exp(x)), and no exponent overflows."""
    shape = writer.placed(node.output, last)
    steps: list[tuple[str, list[int]]] = [("ABS", []), ("NEG", []), ("EXP", []), ("ADD", [writer.scalar(1.0)]), ("LOG", [])]
    y = x
    for name, others in steps:
        y = writer.operator(name, [y, *others], writer.temporary(shape))
    return [writer.operator("RELU", [x], writer.temporary(shape)), y]


@writes("Softsign")
def _softsign(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x, shape = writer.get(node.inputs[0], last), writer.placed(node.output, last)
    size = writer.operator("ABS", [x], writer.temporary(shape))
    below = writer.operator("ADD", [size, writer.scalar(1.0)], writer.temporary(shape))
    writer.operator("DIV", [x, below], writer.new(node.output, last))


@writes("Elu", "Selu", "Celu")
def _exponential(writer: RungWriter, node: Node, integer: bool) -> None:
    """gamma · (max(x, 0) + alpha · (exp(min(x, 0) ÷ width) − 1)), by TFLite's ELU, which has neither of the three."""
    alpha, gamma, width = _exponential_numbers(node)
    last = layout_of(writer, node)
    x, shape = writer.get(node.inputs[0], last), writer.placed(node.output, last)
    if (alpha, gamma, width) == (1.0, 1.0, 1.0):
        writer.operator("ELU", [x], writer.new(node.output, last))
        return
    above = writer.operator("RELU", [x], writer.temporary(shape))
    below = writer.operator("MINIMUM", [x, writer.scalar(0.0)], writer.temporary(shape))
    scaled = writer.operator("MUL", [below, writer.scalar(1 / width)], writer.temporary(shape))
    bent = writer.operator("ELU", [scaled], writer.temporary(shape))
    left = writer.operator("MUL", [bent, writer.scalar(alpha * gamma)], writer.temporary(shape))
    right = writer.operator("MUL", [above, writer.scalar(gamma)], writer.temporary(shape))
    writer.operator("ADD", [left, right], writer.new(node.output, last))


def _exponential_numbers(node: Node) -> tuple[float, float, float]:
    """alpha, gamma and width."""
    if node.op == "Selu":
        alpha = float(node.attrs.get("alpha", 1.67326319217681884765625))
        return alpha, float(node.attrs.get("gamma", 1.05070102214813232421875)), 1.0
    alpha = float(node.attrs.get("alpha", 1.0))
    return alpha, 1.0, alpha if node.op == "Celu" else 1.0


@writes("ThresholdedRelu")
def _thresholded_relu(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x, shape = writer.get(node.inputs[0], last), writer.placed(node.output, last)
    above = writer.operator(
        "GREATER", [x, writer.scalar(float(node.attrs.get("alpha", 1.0)))], writer.temporary(shape, "|b1")
    )
    writer.operator("SELECT_V2", [above, x, writer.scalar(0.0)], writer.new(node.output, last))


@writes("Gelu")
def _gelu(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    tanh = node.attrs["approximate"] == "tanh"
    x = writer.get(node.inputs[0], last)
    writer.operator("GELU", [x], writer.new(node.output, last), {0: Byte(1)} if tanh else {})


_ERF_P = 0.3275911
_ERF_A = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


@writes("Erf")
def _erf(writer: RungWriter, node: Node, integer: bool) -> None:
    """TFLite has none. Abramowitz and Stegun: Handbook of Mathematical Functions, 7.1.26, whose error is below 1.5e-7."""
    last = layout_of(writer, node)
    x, shape = writer.get(node.inputs[0], last), writer.placed(node.output, last)

    def step(name: str, *inputs: int, activation: int = schema.NONE) -> int:
        options: dict[int, Field] = {0: Byte(activation)} if activation else {}
        return writer.operator(name, list(inputs), writer.temporary(shape), options)

    def number(value: float) -> int:
        return writer.scalar(value)

    t = step("DIV", number(1.0), step("ADD", step("MUL", step("ABS", x), number(_ERF_P)), number(1.0)))
    polynomial = step("MUL", t, number(_ERF_A[0]))
    for factor in _ERF_A[1:]:
        polynomial = step("MUL", step("ADD", polynomial, number(factor)), t)
    bell = step("EXP", step("NEG", step("MUL", x, x)))
    size = step("SUB", number(1.0), step("MUL", polynomial, bell))
    sign = step("MUL", x, number(1e30), activation=schema.RELU_N1_TO_1)  # 0 only where the result is
    writer.operator("MUL", [size, sign], writer.new(node.output, last))
