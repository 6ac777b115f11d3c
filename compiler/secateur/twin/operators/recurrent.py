"""Recurrent layers, batch first: input (batch, steps, features); Y is (batch, steps, directions, hidden)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from secateur.twin.operators.registry import Attrs, operator

_GATES = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}
"""ONNX's gates in torch's order: GRU z, r, h → r, z, n; LSTM i, o, f, c → i, f, g, o."""


def _recurrent(op: str, xs: list[Tensor], attrs: Attrs) -> Tensor:
    count = 3 if attrs["has_bias"] else 2
    x, states, weights = xs[0], xs[1:-count], xs[-count:]
    directions, hidden = weights[0].shape[0], attrs["hidden_size"]
    if x.is_meta:
        middle = (x.shape[1],) if attrs["emit"] == "Y" else ()
        return x.new_empty((x.shape[0], *middle, directions, hidden))
    if not states:
        states = [x.new_zeros((x.shape[0], directions, hidden))] * (2 if op == "LSTM" else 1)
    y, last, cells = [], [], []
    for number in range(directions):
        backward = attrs["direction"] == "reverse" or number == 1
        steps = x.flip(1) if backward else x
        found = _direction(op, steps, [s[:, number] for s in states], [w[number] for w in weights], attrs)
        y.append(found[0].flip(1) if backward else found[0])
        last.append(found[1])
        cells.append(found[2])
    if attrs["emit"] == "Y":
        return torch.stack(y, 2)
    return torch.stack(last if attrs["emit"] == "Y_h" else cells, 1)


def _direction(
    op: str, x: Tensor, states: list[Tensor], weights: list[Tensor], attrs: Attrs
) -> tuple[Tensor, Tensor, Tensor]:
    """One direction; returns Y (batch, steps, hidden), the last state and the last cell (of an LSTM)."""
    gates = _GATES[op]
    hidden = attrs["hidden_size"]

    def ordered(w: Tensor) -> Tensor:
        return w.reshape(len(gates), hidden, -1)[gates].reshape(len(gates) * hidden, -1)

    params = [ordered(weights[0]), ordered(weights[1])]
    if attrs["has_bias"]:
        params += [ordered(half).ravel() for half in weights[2].chunk(2)]
    first = [state.unsqueeze(0).contiguous() for state in states]
    options = (attrs["has_bias"], 1, 0.0, False, False, True)
    if op == "LSTM":
        y, last, cell = torch.lstm(x, first, params, *options)
        return y, last[0], cell[0]
    if op == "GRU" and not attrs["linear_before_reset"]:
        return _gru_reset_first(x, states[0], params, attrs["has_bias"])
    function = torch.gru if op == "GRU" else torch.rnn_tanh
    y, last = function(x, first[0], params, *options)
    return y, last[0], last[0]


def _gru_reset_first(x: Tensor, state: Tensor, params: list[Tensor], has_bias: bool) -> tuple[Tensor, Tensor, Tensor]:
    """GRU whose reset gate acts before the product, as Cho et al. (2014) have it; torch does it after."""
    weight, recurrence = params[:2]
    shift = params[2] + params[3] if has_bias else weight.new_zeros(len(weight))
    inner = (x @ weight.T + shift).chunk(3, -1)
    reset_w, update_w, new_w = recurrence.chunk(3)
    found = []
    for step in range(x.shape[1]):
        reset = torch.sigmoid(inner[0][:, step] + state @ reset_w.T)
        update = torch.sigmoid(inner[1][:, step] + state @ update_w.T)
        new = torch.tanh(inner[2][:, step] + (reset * state) @ new_w.T)
        state = (1 - update) * new + update * state
        found.append(state)
    return torch.stack(found, 1), state, state


for _op in _GATES:
    operator(_op)(partial(_recurrent, _op))
