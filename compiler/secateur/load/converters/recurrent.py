"""Recurrent layers: kept as they are, their weights shared and float; only the outputs that are read are computed."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import BATCH, Converting
from secateur.load.converters.registry import converter
from secateur.load.views import Arranged, plain

_ACTIVATIONS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_ORDERS = {"Y": (1, 2, 0, 3), "Y_h": (1, 0, 2), "Y_c": (1, 0, 2)}
"""Axes of what the normal form computes, batch first, in ONNX's layout 0."""


@converter("GRU", "LSTM", "RNN")
def _recurrent(node: Converting) -> None:
    weight, recurrence, bias = (node.constant(index) for index in (1, 2, 3))
    if weight is None or recurrence is None or (node.has(3) and bias is None):
        raise node.fail("its weights must be constant")
    activations = [name.decode() for name in node.attrs.get("activations", ())]
    usual = _ACTIVATIONS[node.op] * weight.shape[0]
    if (activations and activations != usual) or "clip" in node.attrs or node.attrs.get("input_forget", 0):
        raise node.fail("only the usual activations are supported, without clip or input_forget")
    layout = node.attrs.get("layout", 0)
    x = _arranged(node, 0, layout)
    if len(x.shape) != 3 or x.axes != ([None, 1, 2] if layout else [1, None, 2]) or [1, 0] in x.order:
        raise node.fail("its steps lie on the batch axis, but samples must not depend on each other; fix that axis to 1")
    _check_lengths(node, x.shape[1])
    constants = [node.weight(weight), node.weight(recurrence)] + ([] if bias is None else [node.weight(bias)])
    attrs = {
        "hidden_size": int(recurrence.shape[2]),
        "direction": node.attrs.get("direction", b"forward").decode(),
        "linear_before_reset": int(node.attrs.get("linear_before_reset", 0)),
        "has_bias": bias is not None,
        "constants": tuple(constants),
    }
    inputs = [x.tensor, *_states(node, x.tensor, layout)]
    names = [(number, name) for number, name in enumerate(("Y", "Y_h", "Y_c")) if node.used(number)]
    for number, name in names:
        output = node.outputs[number]
        single = attrs["direction"] != "bidirectional"
        if name == "Y_h" and node.used(0) and single:  # the last step of Y
            step = x.shape[1] - 1 if attrs["direction"] == "forward" else 0
            bounds = {"axes": (1,), "starts": (step,), "stops": (step + 1,), "steps": (1,)}
            tensor = node.emit("Slice", [node.outputs[0] + ":batch-first"], output + ":batch-first", **bounds)
            found = plain(tensor, (BATCH, *node.tensor_shape(tensor)[1:]))
            groups = [found.axes[0], found.axes[2], found.axes[3]]
        else:
            tensor = node.emit(node.op, inputs, output + ":batch-first", emit=name, **attrs)
            found = plain(tensor, (BATCH, *node.tensor_shape(tensor)[1:]))
            groups = found.axes
        order = range(len(groups)) if layout else _ORDERS[name]
        if layout and name == "Y":
            order = (0, 1, 2, 3)
        node.put_view(found.regrouped([groups[axis] for axis in order], node.origin), output)


def _arranged(node: Converting, index: int, layout: int) -> Arranged:
    """An input with the batch in front. In a file for one sample with one step, the two axes are not told apart."""
    view = node.view(index)
    return node.arranged_view(view.batch_swapped(0 if layout else 1) if node.one_sample else view)


def _check_lengths(node: Converting, steps: int) -> None:
    lengths = node.constant(4)
    if node.has(4) and (lengths is None or (lengths != steps).any()):
        raise node.fail("sequences of different lengths in a batch are not supported")
    if node.has(7):
        raise node.fail("peepholes are not supported")


def _states(node: Converting, x: str, layout: int) -> list[str]:
    """First states as tensors with the batch in front; none if they are zero."""
    given = [index for index in (5, 6) if node.has(index)]
    constants = [node.constant(index) for index in given]
    if all(value is not None and not value.any() for value in constants):
        return []
    names = []
    for index, value in zip(given, constants):
        if value is None:
            state = _arranged(node, index, layout)
            if state.axes != ([None, 1, 2] if layout else [1, None, 2]):
                raise node.fail("the batch is not where its first state must have it")
            names.append(state.tensor)
            continue
        first = value if layout else np.swapaxes(value, 0, 1)
        if (first != first[:1]).any():
            raise node.fail("a first state that differs between samples is not supported")
        constant = node.weight(first[:1])
        names.append(node.emit("PerSample", [x], f"{node.outputs[0]}:state{index}", constants=(constant,)))
    return names
