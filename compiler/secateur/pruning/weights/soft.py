"""Soft threshold: what is below becomes zero, and what remains shrinks: sign(w) · max(|w| − t, 0).

Donoho: De-noising by soft-thresholding, IEEE Trans. Inf. Theory 1995; it is the proximal step of an L1 penalty. With another
criterion than magnitude the threshold is in that criterion's units and a weight shrinks by the share t / score, as in the
adaptive lasso (Zou, JASA 2006); for magnitude that share of |w| is exactly t.
"""

from __future__ import annotations

import numpy as np

from secateur.pruning.weights.registry import Array, Scores, Weights, pattern


@pattern("soft", ratio=True)
def soft(weights: Weights, scores: Scores, amount: float) -> dict[str, Array]:
    """The share ``amount`` of all elements becomes zero, the others shrink by the same threshold."""
    threshold = soft_threshold(scores, amount)
    found = {}
    for name, weight in weights.items():
        left = np.maximum(1 - threshold / np.maximum(scores[name], 1e-300), 0)
        found[name] = (weight * np.where(scores[name] > threshold, left, 0)).astype(np.float32)
    return found


def soft_threshold(scores: Scores, share: float) -> float:
    """Return the score at or below which the share of all elements lies, float64."""
    flat = np.sort(np.concatenate([np.asarray(values, np.float64).ravel() for values in scores.values()]))
    count = round(share * flat.size)
    return float(flat[count - 1]) if count else 0.0
