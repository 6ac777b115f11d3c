"""What this package needs of TFLite's schema: the numbers of fields, operators, element types and options.

They are those of schema.fbs of TensorFlow 2.14, whose files begin with ``TFL3``.
"""

from __future__ import annotations

from dataclasses import dataclass

IDENTIFIER = b"TFL3"
VERSION = 3

MODEL_VERSION, MODEL_OPERATOR_CODES, MODEL_SUBGRAPHS, MODEL_DESCRIPTION, MODEL_BUFFERS = range(5)
CODE_DEPRECATED, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN = range(4)
GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS = range(4)
TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION = range(5)
QUANTIZATION_SCALE, QUANTIZATION_ZERO_POINT, QUANTIZATION_DIMENSION = 2, 3, 6
OPERATOR_CODE, OPERATOR_INPUTS, OPERATOR_OUTPUTS, OPERATOR_OPTIONS_TYPE, OPERATOR_OPTIONS = range(5)
BUFFER_DATA = 0

TYPES = {"<f4": 0, "<f2": 1, "<i4": 2, "<i8": 4, "|b1": 6, "|i1": 9}
"""Element type by numpy's name."""

SAME, VALID = 0, 1
"""Padding."""
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
"""Activation that an operator ends with."""


@dataclass(frozen=True)
class Operator:
    """A builtin operator.

    Attributes:
        code: in ``BuiltinOperator``.
        options: its table in the union ``BuiltinOptions``; 0 for none.
        float_version: of the operator as it is used here on floats.
        int8_version: on int8.
    """

    code: int
    options: int = 0
    float_version: int = 1
    int8_version: int = 2


OPERATORS = {
    "ADD": Operator(0, 11),
    "AVERAGE_POOL_2D": Operator(1, 5),
    "CONCATENATION": Operator(2, 10),
    "CONV_2D": Operator(3, 1, 1, 3),
    "DEPTHWISE_CONV_2D": Operator(4, 2, 1, 3),
    "DEPTH_TO_SPACE": Operator(5, 94, 1, 1),
    "DEQUANTIZE": Operator(6, 38, 1, 2),
    "FULLY_CONNECTED": Operator(9, 8, 1, 4),
    "LOGISTIC": Operator(14),
    "MAX_POOL_2D": Operator(17, 5),
    "MUL": Operator(18, 21),
    "RELU": Operator(19),
    "RELU6": Operator(21),
    "RESHAPE": Operator(22, 17, 1, 1),
    "RESIZE_BILINEAR": Operator(23, 15, 3, 3),
    "SOFTMAX": Operator(25, 9),
    "SPACE_TO_DEPTH": Operator(26, 19),
    "TANH": Operator(28),
    "PAD": Operator(34, 22),
    "GATHER": Operator(36, 23),
    "TRANSPOSE": Operator(39, 26),
    "MEAN": Operator(40, 27),
    "SUB": Operator(41, 28),
    "DIV": Operator(42, 29),
    "STRIDED_SLICE": Operator(45, 32),
    "EXP": Operator(47, 33),
    "LOG_SOFTMAX": Operator(50, 36),
    "CAST": Operator(53, 37),
    "PRELU": Operator(54),
    "MAXIMUM": Operator(55, 39),
    "MINIMUM": Operator(57, 39),
    "LESS": Operator(58, 41),
    "NEG": Operator(59, 42),
    "PADV2": Operator(60, 43),
    "GREATER": Operator(61, 44),
    "GREATER_EQUAL": Operator(62, 45),
    "LESS_EQUAL": Operator(63, 46),
    "TRANSPOSE_CONV": Operator(67, 49, 3, 3),
    "EQUAL": Operator(71, 53),
    "LOG": Operator(73),
    "SUM": Operator(74, 27),
    "SQRT": Operator(75),
    "RSQRT": Operator(76),
    "POW": Operator(78, 56),
    "REDUCE_MAX": Operator(82, 27),
    "LOGICAL_NOT": Operator(87, 63),
    "REDUCE_MIN": Operator(89, 27),
    "RESIZE_NEAREST_NEIGHBOR": Operator(97, 74, 3, 3),
    "LEAKY_RELU": Operator(98, 75),
    "MIRROR_PAD": Operator(100, 77),
    "ABS": Operator(101, 78),
    "ELU": Operator(111),
    "QUANTIZE": Operator(114, 89, 1, 2),
    "HARD_SWISH": Operator(117, 91, 1, 1),
    "SELECT_V2": Operator(123, 98),
    "BATCH_MATMUL": Operator(126, 101),
    "BROADCAST_TO": Operator(130, 104, 2, 2),
    "GELU": Operator(150, 116),
}
