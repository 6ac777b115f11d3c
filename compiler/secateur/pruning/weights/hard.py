"""Hard thresholds: what is below becomes zero, what remains is untouched.

Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, NeurIPS 2015.
"""

from __future__ import annotations

import numpy as np

from secateur.pruning.weights.registry import Array, Scores, Weights, pattern


def lowest(scores: Scores, share: float) -> dict[str, np.ndarray]:
    """Return masks of the lowest share of all elements, exactly round(share · count), whichever layer they are in."""
    flat = np.concatenate([np.asarray(values, np.float64).ravel() for values in scores.values()])
    gone = np.zeros(flat.size, bool)
    gone[np.argsort(flat, kind="stable")[: round(share * flat.size)]] = True
    parts = np.split(gone, np.cumsum([values.size for values in scores.values()])[:-1])
    return {name: part.reshape(values.shape) for (name, values), part in zip(scores.items(), parts)}


def _without(weights: Weights, gone: dict[str, np.ndarray]) -> dict[str, Array]:
    return {name: np.where(gone[name], 0, weight).astype(np.float32) for name, weight in weights.items()}


@pattern("value", ratio=False)
def by_value(weights: Weights, scores: Scores, amount: float) -> dict[str, Array]:
    """Elements whose score is below ``amount`` become zero."""
    return _without(weights, {name: values < amount for name, values in scores.items()})


@pattern("ratio", ratio=True)
def by_ratio(weights: Weights, scores: Scores, amount: float) -> dict[str, Array]:
    """The share ``amount`` of all elements becomes zero."""
    return _without(weights, lowest(scores, amount))


@pattern("layer-ratio", ratio=True)
def by_layer_ratio(weights: Weights, scores: Scores, amount: float) -> dict[str, Array]:
    """The share ``amount`` of each layer's elements becomes zero."""
    return _without(weights, {name: lowest({name: values}, amount)[name] for name, values in scores.items()})
