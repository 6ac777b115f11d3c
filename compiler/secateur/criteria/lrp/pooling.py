"""Relevance rules of pools."""

from __future__ import annotations

from secateur.criteria.lrp.registry import Passed, Step, by_contribution, rule


@rule("MaxPool")
def winner(step: Step) -> Passed:
    """The largest element of a window has all of it."""
    return Passed(step.pulled_back(step.relevance))


@rule("AveragePool", "GlobalAveragePool")
def average(step: Step) -> Passed:
    """Each element of a window has as much as it contributes to the mean."""
    return by_contribution(step)
