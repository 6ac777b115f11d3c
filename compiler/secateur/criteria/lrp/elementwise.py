"""Relevance rules of activations, sums and products."""

from __future__ import annotations

from secateur.criteria.lrp.registry import Passed, Step, by_contribution, rule


@rule(
    *("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus"),
    *("Erf", "Exp", "Sqrt", "Neg", "Abs", "Identity"),
)
def activation(step: Step) -> Passed:
    """What an element is worth behind its activation, it is worth before (Bach et al. 2015)."""
    return Passed([step.relevance])


@rule("Add", "Sub")
def addition(step: Step) -> Passed:
    """A sum, such as a residual connection's, is shared out in proportion to what each term adds."""
    return by_contribution(step)


@rule("Mul")
def product(step: Step) -> Passed:
    """Both factors have half: a product falls to zero with either of them alike."""
    return Passed([step.relevance / 2, step.relevance / 2])
