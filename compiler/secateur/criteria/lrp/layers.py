"""Relevance rules of what multiplies by constants: layers with a weight, and scales and shifts.

Bach, Binder, Montavon, Klauschen, Müller, Samek: On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
Layer-Wise Relevance Propagation, PLoS ONE 2015. A shift contributes as any input does, and its share of the relevance
ends there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from secateur.criteria.lrp.registry import Passed, Step, by_contribution, per_sample, rule
from secateur.ir import Node
from secateur.twin import Values
from secateur.twin.execute import apply


@rule("Conv", "Linear")
def weighted(step: Step) -> Passed:
    """Share out by contribution, of either sign (epsilon) or of the output's own sign (z+)."""
    return _one_sided(step) if step.settings.positive else by_contribution(step)


def _one_sided(step: Step) -> Passed:
    """Share out among contributions that have the sign of the output.

    Behind a ReLU only positive outputs have relevance, and this is the z+ rule. Before a scale that may be negative, or
    none, it is the same for the channel as the next layer reads it.
    """
    (x,) = step.inputs
    result = torch.zeros_like(x)
    for sign in (1.0, -1.0):
        relevance = torch.where((step.output < 0) == (sign < 0), step.relevance, 0.0)
        if not relevance.any():
            continue
        # A contribution of this sign: a positive input times a weight of it, or a negative input times one of the other.
        parts = [(x.clamp(min=0), _OneSign(step.values, sign)), (x.clamp(max=0), _OneSign(step.values, -sign))]
        total = sum((apply(step.node, [part], values) for part, values in parts), torch.zeros_like(step.output))
        share = relevance / step.stabilised(total)
        for part, values in parts:
            result = result + part * replace(step, values=values).pulled_back(share)[0]
    return Passed([result])


class _OneSign:
    """The weights of one sign."""

    def __init__(self, values: Values, sign: float) -> None:
        self._values, self._sign = values, sign

    def weight(self, name: str) -> Tensor:
        weight = self._values.weight(name)
        return weight.clamp(min=0) if self._sign > 0 else weight.clamp(max=0)

    def affine(self, node: Node, x: Tensor) -> Tensor:
        return self._values.affine(node, x)


@rule("Affine", "ScalarAffine")
def shifted(step: Step) -> Passed:
    """Share out between the scaled input and the shift, which absorbs its part."""
    (x,) = step.inputs
    scaled = x * step.pulled_back(torch.ones_like(step.output))[0]
    shift = step.output - scaled
    if step.settings.positive:
        negative = step.output < 0
        scaled, shift = (torch.where((part < 0) == negative, part, 0.0) for part in (scaled, shift))
    share = step.relevance / step.stabilised(scaled + shift)
    return Passed([scaled * share], per_sample(shift * share))
