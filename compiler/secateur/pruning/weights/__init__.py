"""Unstructured and N:M pruning: which single weights become zero. A pattern or criterion is one file that registers itself.

Zeros give neither speed nor a smaller model file on a CPU; what they give is a base that compresses better.
"""

from secateur.ir.discovery import import_modules
from secateur.pruning.weights.n_of_m import holds, parse_n_of_m
from secateur.pruning.weights.registry import (
    PATTERNS,
    WEIGHT_CRITERIA,
    WeightEvidence,
    check_pattern,
    pattern,
    score_weights,
    sparsify,
    weight_criterion,
    zero_share,
)

import_modules(__name__, __path__)

__all__ = [
    "PATTERNS",
    "WEIGHT_CRITERIA",
    "WeightEvidence",
    "check_pattern",
    "holds",
    "parse_n_of_m",
    "pattern",
    "score_weights",
    "sparsify",
    "weight_criterion",
    "zero_share",
]
