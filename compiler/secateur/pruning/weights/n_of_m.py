"""N:M: of every M weights that follow each other along the input axis at most N are not zero.

Mishra et al.: Accelerating Sparse Deep Neural Networks, 2021 (2:4); Zhou et al.: Learning N:M Fine-grained Structured Sparse
Neural Networks from Scratch, ICLR 2021. Only sparse tensor cores run it faster; a CPU does not.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

LARGEST_BLOCK = 64


def parse_n_of_m(name: str) -> tuple[int, int] | None:
    """Return N and M of a pattern like ``2:4``, or None if it is no such pattern."""
    match = re.fullmatch(r"([1-9][0-9]?):([1-9][0-9]?)", name)
    if not match or not int(match.group(1)) < int(match.group(2)) <= LARGEST_BLOCK:
        return None
    return int(match.group(1)), int(match.group(2))


def _blocks(values: NDArray[np.float64], m: int, fill: float) -> NDArray[np.float64]:
    """Return (out, kernel, blocks, M); the last block is padded."""
    flat = np.moveaxis(values.reshape(*values.shape[:2], -1), 1, 2)
    padded = np.pad(flat, ((0, 0), (0, 0), (0, -flat.shape[2] % m)), constant_values=fill)
    return padded.reshape(*padded.shape[:2], -1, m)


def has_blocks(weight: NDArray[np.generic], m: int) -> bool:
    """Whether a weight has enough inputs for a block: depthwise convolutions and first layers have not."""
    return weight.ndim >= 2 and weight.shape[1] >= m


def masked(weight: NDArray[np.float32], scores: NDArray[np.float64], n: int, m: int) -> NDArray[np.float32]:
    """Return the weight with the N best of each block; one with fewer than M inputs as it is.

    Args:
        weight: (out, in, kernel…).
        scores: importance of each element.
        n: how many remain of each block.
        m: inputs in a block; a last, shorter block counts as padded with zeros.
    """
    if not has_blocks(weight, m):
        return weight.copy()
    blocks = _blocks(np.asarray(scores, np.float64), m, -np.inf)
    rank = np.argsort(np.argsort(-blocks, axis=-1, kind="stable"), axis=-1, kind="stable")
    kept = (rank < n).reshape(*blocks.shape[:2], -1)[:, :, : weight.shape[1]]
    mask = np.moveaxis(kept, 2, 1).reshape(weight.shape)
    return np.where(mask, weight, 0).astype(np.float32)


def holds(weight: NDArray[np.generic], n: int, m: int) -> bool:
    """Whether every block has at most N elements that are not zero; a weight with fewer than M inputs has no blocks."""
    if not has_blocks(weight, m):
        return True
    return bool((_blocks((np.asarray(weight) != 0).astype(np.float64), m, 0.0).sum(-1) <= n).all())
