"""The registry of relevance rules: how the relevance of an operator's output is shared out to its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.ir import Node
from secateur.twin import Values
from secateur.twin.execute import apply

FLOOR = 1e-12
"""Least magnitude that a share is divided by; where all values are zero there is no relevance to share."""


@dataclass(frozen=True)
class Settings:
    """How linear layers share relevance out.

    Attributes:
        epsilon: what is added to the magnitude of a denominator, as a share of the root mean square of its tensor; it takes
            relevance away where contributions cancel. Bach et al., equation 58.
        positive: share it out only among contributions that have the sign of the output (with ReLU the z+ rule, which is
            alpha 1, beta 0 of equation 60).
    """

    epsilon: float = 1e-2
    positive: bool = False


@dataclass(frozen=True)
class Step:
    """What a rule sees.

    Attributes:
        node: the operator.
        inputs: its inputs, without gradient.
        output: what it made of them.
        relevance: of the output, same shape.
        values: the network's weights and tables.
        settings: how to share out.
    """

    node: Node
    inputs: list[Tensor]
    output: Tensor
    relevance: Tensor
    values: Values
    settings: Settings

    def stabilised(self, value: Tensor) -> Tensor:
        """Return ``value`` moved away from zero."""
        scale = value.square().mean(tuple(range(1, value.ndim)), keepdim=True).sqrt()
        return value + torch.where(value < 0, -1.0, 1.0).to(value.dtype) * (self.settings.epsilon * scale + FLOOR)

    def pulled_back(self, cotangent: Tensor) -> list[Tensor]:
        """Return the operator's vector-Jacobian product at its inputs, one tensor per input."""
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in self.inputs]
            output = apply(self.node, leaves, self.values)
            found = torch.autograd.grad(output, leaves, cotangent, allow_unused=True)
        return [torch.zeros_like(x) if grad is None else grad for x, grad in zip(self.inputs, found)]


@dataclass(frozen=True)
class Passed:
    """What a rule gives: relevance per input, and what constants (a shift, padding) absorb of each sample's, (samples,)."""

    inputs: list[Tensor]
    absorbed: Tensor | None = None


Rule = Callable[[Step], Passed]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the relevance rule of these operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def per_sample(values: Tensor) -> Tensor:
    """Sum everything but the batch; shape (samples,)."""
    return values.flatten(1).sum(1)


def by_contribution(step: Step) -> Passed:
    """Share out in proportion to the contribution of each input element: x · Jᵀ(R / output), the epsilon rule.

    Exact for what is linear. For any other operator it is gradient × input, which does not conserve relevance.
    """
    pulled = step.pulled_back(step.relevance / step.stabilised(step.output))
    return Passed([x * grad for x, grad in zip(step.inputs, pulled)])
