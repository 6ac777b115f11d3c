"""Relevance rules of operators that move elements: relevance moves back with them."""

from __future__ import annotations

from secateur.criteria.lrp.registry import Passed, Step, per_sample, rule


@rule("Flatten", "Reshape", "Transpose", "Pad", "Slice", "Split", "Concat", "DepthToSpace")
def moved(step: Step) -> Passed:
    """Every element takes its relevance along; what padding had is absorbed, and what a slice leaves out has none."""
    inputs = step.pulled_back(step.relevance)
    absorbed = per_sample(step.relevance)
    for relevance in inputs:
        absorbed = absorbed - per_sample(relevance)
    return Passed(inputs, absorbed)
