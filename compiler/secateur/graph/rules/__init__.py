"""One file per family of operators: what each ties together and where it is a barrier. A file registers itself."""

from secateur.graph.rules import affine, convolution, elementwise, linear, pooling, shape
from secateur.graph.rules.registry import RULES, Rule, rule

__all__ = ["RULES", "Rule", "affine", "convolution", "elementwise", "linear", "pooling", "rule", "shape"]
