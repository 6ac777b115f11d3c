"""Each operator between two convolutions: it loads, is proved, cut as far as it can be, and written for the runtime."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.compiler.topologies.understood import check, check_int8

from secateur.ir import Network, UnsupportedModelError
from secateur.load import load_onnx

RNG = np.random.default_rng(7)
CHANNELS = 8


def values(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2, shape).astype(np.float32)


def int64(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


@dataclass
class Case:
    """Nodes from ``a`` (and ``b``, made by another convolution) of shape (batch, 8, 6, 6) to ``y``.

    Attributes:
        nodes: ONNX nodes.
        constants: their constants.
        channels: of ``y``, which a convolution reads; 0 if a fully connected layer over all of ``y`` does.
        groups: sizes of the channel groups, empty if nothing can be cut.
        opset: of the file.
    """

    name: str
    nodes: Sequence[onnx.NodeProto]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    channels: int = CHANNELS
    groups: tuple[int, ...] = (CHANNELS,)
    opset: int = 18


def one(op: str, *constants: np.ndarray, inputs: Sequence[str] = ("a",), name: str = "", **rest) -> Case:
    """A case of one node; constants come after the computed inputs, None leaves one out."""
    chosen = {key: rest.pop(key) for key in ("channels", "groups", "opset") if key in rest}
    names = ["" if value is None else f"c{index}" for index, value in enumerate(constants)]
    given = {key: value for key, value in zip(names, constants) if key}
    return Case(name or op, [helper.make_node(op, [*inputs, *names], ["y"], **rest)], given, **chosen)


def left(op: str, constant: np.ndarray) -> Case:
    """A constant on the left."""
    nodes = [helper.make_node("Exp", ["a"], ["e"]), helper.make_node(op, ["c", "e"], ["y"])]
    return Case(f"{op}-left", nodes, {"c": constant})


def transposed(name: str, **attributes) -> Case:
    """A transposed convolution from eight channels to five."""
    return one(
        "ConvTranspose", values(8, 5, 3, 2), values(5), name=f"ConvTranspose-{name}", channels=5, groups=(5, 8), **attributes
    )


def reshaped(name: str, *steps: Sequence[int], **rest) -> Case:
    """Reshape, transpose, reshape."""
    first, perm, last = steps
    nodes = [
        helper.make_node("Reshape", ["a", "to1"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=list(perm)),
        helper.make_node("Reshape", ["t", "to2"], ["y"]),
    ]
    return Case(name, nodes, {"to1": int64(*first), "to2": int64(*last)}, **rest)


BOTH = ("a", "b")
TOKEN = {"v": values(1, 3, 6, 6), "rest": int64(3, 6, 6)}
REPEATED = [
    helper.make_node("Shape", ["a"], ["batch"], start=0, end=1),
    helper.make_node("Concat", ["batch", "rest"], ["to"], axis=0),
    helper.make_node("Expand", ["v", "to"], ["e"]),
]
"""A constant that is repeated for each sample, as exporters write it."""
UNARY = ["Elu", "Selu", "Celu", "ThresholdedRelu", "Mish", "Softsign", "Softplus", "Exp", "Abs", "Neg", "Tanh", "HardSwish"]
CASES = [
    *(one(op) for op in UNARY),
    one("Gelu", opset=20),
    one("Gelu", name="Gelu-tanh", approximate="tanh", opset=20),
    one("PRelu", positive(8, 1, 1)),
    one("PRelu", positive(1), name="PRelu-scalar"),
    one("LogSoftmax", axis=1, groups=()),
    one("LogSoftmax", axis=3, name="LogSoftmax-positions"),
    one("Pow", np.float32(2)),
    Case(
        "Pow-half",
        [helper.make_node("Exp", ["a"], ["e"]), helper.make_node("Pow", ["e", "c"], ["y"])],
        {"c": np.float32(0.5)},
    ),
    Case("Div", [helper.make_node("Exp", ["b"], ["e"]), helper.make_node("Div", ["a", "e"], ["y"])]),
    *(one(op, inputs=BOTH) for op in ("Sub", "Min", "Max", "Sum", "Mean", "Mul")),
    one("Sum", inputs=("a", "b", "a"), name="Sum-three"),
    one("Max", np.float32(0.1), name="Max-number"),
    one("Min", values(8, 1, 1), name="Min-channels"),
    left("Sub", np.float32(1)),
    left("Sub", values(8, 1, 1)),
    left("Sub", values(8, 6, 6)),
    left("Div", np.float32(2)),
    left("Div", positive(1, 8, 1, 1)),
    left("Div", positive(8, 1, 6)),
    one("Add", values(1, 8, 6, 6), name="Add-grid"),
    one("Add", values(6, 6), name="Add-positions"),
    one("Mul", positive(8, 1, 6), name="Mul-grid"),
    one("Sub", values(8, 6, 1), name="Sub-grid"),
    one("Div", positive(1, 6, 6), name="Div-positions"),
    Case(
        "squeeze-excite",
        [helper.make_node("GlobalAveragePool", ["b"], ["p"]), helper.make_node("Mul", ["a", "p"], ["y"])],
    ),
    Case(
        "spatial-attention",
        [helper.make_node("ReduceMean", ["b", "axes"], ["p"]), helper.make_node("Mul", ["p", "a"], ["y"])],
        {"axes": int64(1)},
    ),
    Case(
        "Expand",
        [
            helper.make_node("GlobalAveragePool", ["b"], ["p"]),
            helper.make_node("Expand", ["p", "to"], ["e"]),
            helper.make_node("Mul", ["a", "e"], ["y"]),
        ],
        {"to": int64(1, 8, 6, 6)},
    ),
    one("Concat", inputs=BOTH, axis=1, channels=16, groups=(8, 8)),
    one("Concat", inputs=("b", "a", "b"), axis=1, channels=24, groups=(8, 8), name="Concat-three"),
    one("Concat", inputs=BOTH, axis=2, name="Concat-positions"),
    Case(
        "Concat-zeros",
        [helper.make_node("Concat", ["z", "a", "z"], ["y"], axis=1)],
        {"z": np.zeros((2, 3, 6, 6), np.float32)},
        14,
    ),
    Case("Concat-values", [*REPEATED, helper.make_node("Concat", ["a", "e"], ["y"], axis=1)], TOKEN, 11),
    Case("Concat-values-within", [*REPEATED, helper.make_node("Concat", ["a", "e", "b"], ["y"], axis=1)], TOKEN, 19, (8, 8)),
    Case(
        "Concat-zeros-and-values",
        [*REPEATED, helper.make_node("Concat", ["z", "a", "e"], ["y"], axis=1)],
        {"z": np.zeros((2, 2, 6, 6), np.float32)} | TOKEN,
        13,
    ),
    Case(
        "Expand-channels",
        [
            helper.make_node("ReduceMean", ["b", "axes"], ["p"]),
            helper.make_node("Expand", ["p", "to"], ["e"]),
            helper.make_node("Concat", ["a", "e"], ["y"], axis=1),
        ],
        {"axes": int64(1), "to": int64(1, 8, 1, 1)},
        16,
    ),
    Case(
        "Split",
        [
            helper.make_node("Split", ["a", "sizes"], ["s0", "s1", "s2"], axis=1),
            helper.make_node("Concat", ["s2", "s0", "s1"], ["y"], axis=1),
        ],
        {"sizes": int64(3, 1, 4)},
        groups=(3, 1, 4),
    ),
    Case(
        "Split-equal",
        [
            helper.make_node("Split", ["a"], ["s0", "s1"], axis=1, num_outputs=2),
            helper.make_node("Mul", ["s0", "s1"], ["y"]),
        ],
        channels=4,
        groups=(4,),
    ),
    one("Gather", int64(3, 1, 0, 2, 7, 6, 5, 4), axis=1, name="Gather-permutes"),
    one("Gather", int64(2, 3, -4), axis=1, name="Gather-run", channels=3, groups=(3,)),
    one("Gather", int64(3, -1), axis=1, name="Gather-picks", channels=2, groups=(2,)),
    one("Gather", int64(0, 0, 2), axis=3, name="Gather-positions"),
    one("Gather", np.int64(-1), axis=3, name="Gather-number", channels=0),
    reshaped("shuffle", (-1, 2, 4, 6, 6), (0, 2, 1, 3, 4), (-1, 8, 6, 6)),
    reshaped("shuffle-flat", (-1, 4, 2, 36), (0, 2, 1, 3), (-1, 8, 6, 6)),
    reshaped("pixel-shuffle", (-1, 2, 2, 2, 6, 6), (0, 1, 4, 2, 5, 3), (-1, 2, 12, 12), channels=2, groups=(2,)),
    reshaped("pixel-shuffle-dcr", (-1, 2, 2, 2, 6, 6), (0, 3, 4, 1, 5, 2), (-1, 2, 12, 12), channels=2, groups=(2,)),
    reshaped("pixel-unshuffle", (-1, 8, 3, 2, 3, 2), (0, 1, 3, 5, 2, 4), (-1, 32, 3, 3), channels=32),
    reshaped("rows-before-channels", (-1, 2, 4, 6, 6), (0, 3, 1, 2, 4), (-1, 8, 6, 6), groups=()),
    one("Reshape", int64(-1, 4, 12, 6), channels=4, groups=(4,), name="Reshape-splits-and-joins"),
    one("DepthToSpace", blocksize=2, mode="DCR", channels=2, groups=(2,), name="DepthToSpace-DCR"),
    one("DepthToSpace", blocksize=2, mode="CRD", channels=2, groups=(2,), name="DepthToSpace-CRD"),
    one("SpaceToDepth", blocksize=3, channels=72),
    one("GlobalMaxPool"),
    one("InstanceNormalization", positive(8), values(8), epsilon=1e-3),
    *(one(f"Reduce{kind}", int64(3), name=f"Reduce{kind}-positions") for kind in ("Mean", "Sum", "Max", "Min", "L2")),
    one("ReduceSum", int64(2), keepdims=0, channels=0, name="ReduceSum-drops"),
    one("ReduceMean", int64(1), channels=1, groups=(), name="ReduceMean-channels"),
    one("ReduceMax", int64(2, 3), keepdims=0, channels=0, name="ReduceMax-all"),
    one("Unsqueeze", int64(2), channels=0),
    one("Reshape", int64(-1, 8, 1, 6, 6), channels=0, name="Reshape-inserts"),
    transposed("plain", strides=(1, 1)),
    transposed("padded", strides=(2, 1), pads=(1, 0, 1, 1), output_padding=(1, 0)),
    transposed("extended", strides=(3, 2), pads=(2, 0, 0, 1), output_padding=(2, 1)),
    transposed("same", strides=(2, 2), auto_pad="SAME_UPPER"),
    transposed("shape", strides=(2, 2), output_shape=(12, 12)),
    one("ConvTranspose", values(8, 1, 3, 3), group=8, strides=(2, 2), dilations=(2, 1), name="ConvTranspose-depthwise"),
    one("ConvTranspose", values(8, 3, 2, 2), values(24), group=8, channels=24, name="ConvTranspose-multiplier"),
    one("Conv", values(12, 2, 1, 1), group=4, channels=12, groups=(3, 2), name="Conv-grouped"),
    one("Conv", values(8, 4, 3, 3), values(8), group=2, groups=(4, 4), name="Conv-halves"),
]
for _mode, _coordinates, _nearest, _scales in [
    ("nearest", "asymmetric", "floor", (2, 2)),
    ("nearest", "asymmetric", "ceil", (1.5, 3)),
    ("nearest", "half_pixel", "round_prefer_floor", (1.7, 0.5)),
    ("nearest", "half_pixel", "round_prefer_ceil", (0.6, 2)),
    ("nearest", "align_corners", "round_prefer_floor", (2, 1.4)),
    ("linear", "half_pixel", "floor", (2, 1.5)),
    ("linear", "pytorch_half_pixel", "floor", (0.5, 3)),
    ("linear", "align_corners", "floor", (2, 2.5)),
    ("linear", "asymmetric", "floor", (2.2, 0.7)),
    ("cubic", "half_pixel", "floor", (2, 1.5)),
    ("linear", "half_pixel_symmetric", "floor", (1.3, 2)),
]:
    CASES.append(
        one(
            "Resize",
            None,
            np.asarray((1, 1, *_scales), np.float32),
            name=f"Resize-{_mode}-{_coordinates}-{_nearest}",
            mode=_mode,
            coordinate_transformation_mode=_coordinates,
            nearest_mode=_nearest,
        )
    )
CASES += [
    one("Resize", None, None, int64(11, 4), name="Resize-sizes", mode="linear", axes=[2, 3]),
    one("Resize", None, None, int64(7, 13), name="Resize-axes", mode="nearest", axes=[2, 3]),
]


def model(nodes: Sequence[onnx.NodeProto], constants: dict[str, np.ndarray], opset: int = 18) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 6, 6])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def network_of(case: Case) -> Network:
    """Return the operator between convolutions."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))

    def normal(*shape: int) -> np.ndarray:
        return (0.3 * rng.normal(size=shape)).astype(np.float32)

    used = {name for node in case.nodes for name in node.input}
    constants = dict(case.constants)
    nodes = []
    for name in sorted({"a", "b"} & used):
        constants |= {f"{name}.weight": normal(CHANNELS, 3, 3, 3), f"{name}.bias": normal(CHANNELS)}
        nodes.append(helper.make_node("Conv", ["x", f"{name}.weight", f"{name}.bias"], [name], pads=[1, 1, 1, 1]))
    nodes += case.nodes
    if case.channels:
        constants["last"] = normal(2, case.channels, 1, 1)
        nodes.append(helper.make_node("Conv", ["y", "last"], ["out"]))
    else:
        before = load_onnx(model([*nodes, helper.make_node("Tanh", ["y"], ["out"])], constants, case.opset))
        (shape,) = before.outputs.values()
        constants["last"] = normal(2, int(np.prod(shape[1:])))
        nodes += [helper.make_node("Flatten", ["y"], ["f"]), helper.make_node("Gemm", ["f", "last"], ["out"], transB=1)]
    return load_onnx(model(nodes, constants, case.opset))


NOT_IN_TFLITE = {"ConvTranspose-depthwise": "with groups", "ConvTranspose-multiplier": "with groups"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_operator_is_understood(case: Case) -> None:
    network = network_of(case)
    groups = check(network, share=0.0, not_in_tflite=NOT_IN_TFLITE.get(case.name, ""))
    assert sorted(group.size for group in groups.groups) == sorted(case.groups)
    check_int8(network, least_db=15, loss_db=8, in_tflite=case.name not in NOT_IN_TFLITE)


REFUSED = [
    (one("ConvTranspose", values(8, 2, 3, 3), group=2), "2 groups are not supported, only 1 or as many as input channels"),
    (one("Split", int64(1, 1), axis=0), "the batch cannot be split"),
    (one("Concat", inputs=BOTH, axis=0), "any axis but the batch"),
    (one("Gather", int64(0), axis=0), "not pick samples of the batch"),
    (one("ReduceMean", int64(0)), "not be the batch"),
    (one("Resize", None, np.asarray([1, 2, 1, 1], np.float32)), "only one or two spatial axes can be resized"),
    (one("Resize", None, np.asarray([1, 1, 2, 2], np.float32), mode="linear", antialias=1), "further options"),
    (one("Pow", values(8, 1, 1)), "one constant exponent"),
    (one("Mul", values(2, 8, 1, 1)), "for every sample"),
    (one("Conv", values(4, 8, 1, 1, 1)), "shapes disagree|spatial axes"),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED, ids=lambda value: getattr(value, "name", ""))
def test_what_is_not_understood_is_refused_by_name_and_reason(case: Case, reason: str) -> None:
    case.nodes[0].name = "culprit"
    with pytest.raises(UnsupportedModelError, match=rf"node culprit \({case.nodes[0].op_type}\): .*({reason})"):
        network_of(case)
