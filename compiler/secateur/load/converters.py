"""One converter per ONNX operator: from an ONNX node to nodes of the normal form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from secateur.load.builder import BATCH, Constant, Converting

Converter = Callable[[Converting], None]
CONVERTERS: dict[str, Converter] = {}
CONTROL_FLOW = ("If", "Loop", "Scan")


def converter(*names: str) -> Callable[[Converter], Converter]:
    """Register a function as the converter of these ONNX operators."""

    def register(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(names, function))
        return function

    return register


@converter("Constant")
def _constant(node: Converting) -> None:
    from onnx import numpy_helper

    if "value" in node.attrs:
        node.fold(numpy_helper.to_array(node.attrs["value"]))
    else:
        node.fold(np.asarray(next(iter(node.attrs.values()))))


@converter("Identity", "Dropout", "Cast")
def _identity(node: Converting) -> None:
    if node.op == "Cast" and node.attrs.get("to") != 1:
        raise node.fail("only float32 tensors are supported")
    node.alias(node.inputs[0])


@converter("CastLike")
def _cast_like(node: Converting) -> None:
    value = node.constant(0)
    if value is None:
        node.alias(node.inputs[0])
    else:
        node.fold(value.astype(np.float32))


@converter("Shape")
def _shape(node: Converting) -> None:
    node.fold(np.asarray(node.shape()[node.attrs.get("start", 0) : node.attrs.get("end")], np.int64))


@converter("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Erf", "Exp", "Sqrt", "Neg", "Abs")
def _unary(node: Converting) -> None:
    node.emit(node.op)


@converter("LeakyRelu", "HardSigmoid")
def _parametric(node: Converting) -> None:
    node.emit(node.op, **{key: float(value) for key, value in node.attrs.items()})


@converter("Softmax")
def _softmax(node: Converting) -> None:
    rank = len(node.shape())
    axis = node.attrs.get("axis", -1 if node.opset >= 13 else 1) % rank
    if node.opset < 13 and axis != rank - 1:
        raise node.fail("before opset 13 only a softmax over the last axis is supported; export with opset 13 or later")
    node.emit("Softmax", axis=axis)


@converter("Clip")
def _clip(node: Converting) -> None:
    bounds = {}
    for index, name in ((1, "min"), (2, "max")):
        value = node.constant(index)
        if node.has(index) and value is None:
            raise node.fail("its bounds must be constant")
        bounds[name] = float(value.item()) if value is not None else node.attrs.get(name)
    if bounds["min"] is None and bounds["max"] is None:
        node.alias(node.inputs[0])
    else:
        node.emit("Clip", **bounds)


def _spatial(node: Converting, kernel: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Strides, pads and dilations of a convolution or pool with ``auto_pad`` resolved."""
    count = len(kernel)
    strides = tuple(node.attrs.get("strides", (1,) * count))
    dilations = tuple(node.attrs.get("dilations", (1,) * count))
    pads = tuple(node.attrs.get("pads", (0,) * 2 * count))
    auto = node.attrs.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = node.shape()[2:]
        total = [
            max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            for size, s, k, d in zip(sizes, strides, kernel, dilations)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = tuple(small + large if auto == "SAME_UPPER" else large + small)
    elif auto == "VALID":
        pads = (0,) * 2 * count
    return {"strides": strides, "pads": pads, "dilations": dilations}


@converter("Conv")
def _conv(node: Converting) -> None:
    weight = node.constant(1)
    if weight is None:
        raise node.fail("its weight must be constant")
    if weight.ndim not in (3, 4):
        raise node.fail(f"only one and two spatial axes are supported, this has {weight.ndim - 2}")
    bias = node.constant(2)
    spatial = _spatial(node, weight.shape[2:])
    middle = node.output + ":conv"
    node.emit("Conv", None, middle, weight=node.weight(weight), groups=node.attrs.get("group", 1), **spatial)
    channels = weight.shape[0]
    shift = np.zeros(channels) if bias is None else bias
    node.emit("Affine", [middle], table=node.table(np.ones(channels), shift), axis=1)


@converter("BatchNormalization")
def _batch_norm(node: Converting) -> None:
    gamma, beta, mean, variance = (node.constant(index) for index in (1, 2, 3, 4))
    if gamma is None or beta is None or mean is None or variance is None:
        raise node.fail("its parameters must be constant")
    spread = variance.astype(np.float64) + node.attrs.get("epsilon", 1e-5)
    if not (spread > 0).all():
        raise node.fail("its variance is negative")
    scale = gamma.astype(np.float64) / np.sqrt(spread)
    node.emit("Affine", table=node.table(scale, beta - mean * scale), axis=1)


def _linear(node: Converting, weight: Constant, bias: Constant | None) -> None:
    """A fully connected layer; ``weight`` is (out, in)."""
    middle = node.output + ":linear"
    node.emit("Linear", None, middle, weight=node.weight(weight))
    shift = np.zeros(weight.shape[0]) if bias is None else np.broadcast_to(bias.ravel(), weight.shape[0])
    node.emit("Affine", [middle], table=node.table(np.ones(weight.shape[0]), shift), axis=len(node.shape()) - 1)


@converter("Gemm")
def _gemm(node: Converting) -> None:
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or (node.has(2) and bias is None) or node.attrs.get("transA", 0):
        raise node.fail("only x·W + b with constant W and b is supported")
    weight = weight * node.attrs.get("alpha", 1.0)
    if bias is not None:
        bias = bias * node.attrs.get("beta", 1.0)
    _linear(node, weight if node.attrs.get("transB", 0) else weight.T, bias)


@converter("MatMul")
def _matmul(node: Converting) -> None:
    weight = node.constant(1)
    if weight is None or weight.ndim != 2:
        raise node.fail("only a product with a constant matrix on the right is supported")
    _linear(node, weight.T, None)


def _per_channel(value: Constant, shape: tuple[int, ...]) -> tuple[int, Constant] | None:
    """If ``value`` broadcasts along exactly one axis of ``shape`` (not the batch), return that axis and the vector."""
    if value.ndim > len(shape):
        return None
    padded = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    wide = [axis for axis, size in enumerate(padded.shape) if size != 1]
    if len(wide) == 1 and wide[0] > 0 and padded.shape[wide[0]] == shape[wide[0]]:
        return wide[0], value.ravel()
    return None


@converter("Add", "Sub", "Mul", "Div")
def _binary(node: Converting) -> None:
    first, second = node.constant(0), node.constant(1)
    if first is None and second is None:
        if node.op == "Div":
            raise node.fail("a quotient of two computed tensors is not supported")
        if node.shape(0) != node.shape(1):
            raise node.fail(f"operands of shapes {node.shape(0)[1:]} and {node.shape(1)[1:]} are not supported")
        node.emit(node.op, node.inputs[:2])
        return
    if first is not None and node.op in ("Sub", "Div"):
        raise node.fail("a constant on the left is not supported")
    value = first if first is not None else second
    variable = 1 if first is not None else 0
    assert value is not None
    values = value.astype(np.float64)
    scale = {"Mul": values, "Div": 1 / values}.get(node.op, np.ones_like(values))
    shift = {"Add": values, "Sub": -values}.get(node.op, np.zeros_like(values))
    if value.size == 1 and value.ndim <= len(node.shape(variable)):
        node.emit("ScalarAffine", [node.inputs[variable]], scale=float(scale.item()), shift=float(shift.item()))
        return
    channel = _per_channel(value, node.shape(variable))
    if channel is None:
        raise node.fail(f"a constant of shape {value.shape} is not supported, only a number or one value per channel")
    node.emit("Affine", [node.inputs[variable]], table=node.table(scale.ravel(), shift.ravel()), axis=channel[0])


@converter("MaxPool", "AveragePool")
def _pool(node: Converting) -> None:
    kernel = tuple(node.attrs["kernel_shape"])
    if len(kernel) > 2:
        raise node.fail("only one and two spatial axes are supported")
    if node.op == "AveragePool" and kernel == node.shape()[2:] and not any(node.attrs.get("pads", ())):
        node.emit("GlobalAveragePool")
        return
    spatial, ceil_mode, extra = _spatial(node, kernel), node.attrs.get("ceil_mode", 0), {}
    if node.op == "AveragePool":
        extra["count_include_pad"] = node.attrs.get("count_include_pad", 0)
        uneven = spatial["pads"][: len(kernel)] != spatial["pads"][len(kernel) :] and not extra["count_include_pad"]
        if uneven or ceil_mode or any(step != 1 for step in spatial["dilations"]):
            raise node.fail("average pools with uneven padding, ceil_mode or dilations are not supported")
    node.emit(node.op, kernel_shape=kernel, ceil_mode=ceil_mode, **extra, **spatial)


@converter("GlobalAveragePool")
def _global_average_pool(node: Converting) -> None:
    node.emit("GlobalAveragePool")


@converter("ReduceMean")
def _reduce_mean(node: Converting) -> None:
    axes = node.constant(1) if node.has(1) else node.attrs.get("axes")
    rank = len(node.shape())
    if axes is None or sorted(int(a) % rank for a in axes) != list(range(2, rank)):
        raise node.fail("only the mean over all spatial axes is supported")
    if node.attrs.get("keepdims", 1):
        node.emit("GlobalAveragePool")
    else:
        node.emit("Flatten", [node.emit("GlobalAveragePool", None, node.output + ":pool")])


@converter("Flatten", "Reshape", "Squeeze")
def _reshape(node: Converting) -> None:
    shape = node.shape()
    flat = int(np.prod(shape[1:]))
    if node.op == "Flatten":
        target = [BATCH, flat] if node.attrs.get("axis", 1) == 1 else []
    elif node.op == "Squeeze":
        axes = node.constant(1) if node.has(1) else node.attrs.get("axes")
        drop = {int(a) % len(shape) for a in axes} if axes is not None else {i for i, s in enumerate(shape) if s == 1}
        target = [size for axis, size in enumerate(shape) if axis not in drop]
    else:
        wanted = node.constant(1)
        if wanted is None:
            raise node.fail("its target shape must be constant")
        target = [shape[i] if int(s) == 0 else int(s) for i, s in enumerate(wanted)]
        if len(target) > 1 and target[0] in (-1, 1) and -1 not in target[1:]:
            target[0] = BATCH
        target = [flat if s == -1 and len(target) == 2 and i == 1 else s for i, s in enumerate(target)]
        target[0] = BATCH if target[0] == 1 else target[0]
    if tuple(target) == shape:
        node.alias(node.inputs[0])
    elif target == [BATCH, flat]:
        node.emit("Flatten")
    else:
        raise node.fail(f"only flattening to (batch, features) is supported, not {shape[1:]} to {target[1:]}")


@converter("Transpose")
def _transpose(node: Converting) -> None:
    rank = len(node.shape())
    perm = tuple(node.attrs.get("perm", range(rank)[::-1]))
    if perm[0] != 0:
        raise node.fail("the batch must remain the first axis")
    node.emit("Transpose", perm=perm)


@converter("Pad")
def _pad(node: Converting) -> None:
    pads, value = node.constant(1), node.constant(2)
    rank = len(node.shape())
    axes = node.constant(3)
    if pads is None or node.attrs.get("mode", b"constant") != b"constant" or (value is not None and value.item() != 0):
        raise node.fail("only padding by constant zeros is supported")
    chosen = [int(a) % rank for a in axes] if axes is not None else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for index, axis in enumerate(chosen):
        begins[axis], ends[axis] = int(pads[index]), int(pads[index + len(chosen)])
    if min(begins + ends) < 0 or begins[0] or ends[0]:
        raise node.fail("negative padding, or of the batch, is not supported")
    node.emit("Pad", begins=tuple(begins), ends=tuple(ends))


@converter("Slice")
def _slice(node: Converting) -> None:
    shape = node.shape()
    values = [node.constant(index) for index in (1, 2, 3, 4)]
    if values[0] is None or values[1] is None:
        raise node.fail("its bounds must be constant")
    starts, stops = [int(v) for v in values[0]], [int(v) for v in values[1]]
    axes = [int(a) % len(shape) for a in values[2]] if values[2] is not None else list(range(len(starts)))
    steps = [int(s) for s in values[3]] if values[3] is not None else [1] * len(starts)
    if min(steps) < 1:
        raise node.fail("negative steps are not supported")
    exact = [slice(a, b, s).indices(shape[axis]) for a, b, s, axis in zip(starts, stops, steps, axes)]
    chosen = [(axis, a, b, s) for axis, (a, b, s) in zip(axes, exact) if (a, b, s) != (0, shape[axis], 1)]
    if not chosen:
        node.alias(node.inputs[0])
        return
    columns = [tuple(column) for column in zip(*chosen)]
    node.emit("Slice", axes=columns[0], starts=columns[1], stops=columns[2], steps=columns[3])
