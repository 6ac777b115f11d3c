"""Samples: what a network takes or gives, one array per tensor; a network with one input or output has just the array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from secateur.ir.errors import SecateurError

Samples: TypeAlias = "NDArray[Any] | tuple[NDArray[Any], ...]"
"""An array (samples, …), or of several tensors a tuple of such arrays in the network's order."""


def arrays_of(samples: Samples) -> tuple[NDArray[Any], ...]:
    """Return one array per tensor."""
    return samples if isinstance(samples, tuple) else (samples,)


def samples_of(arrays: Sequence[NDArray[Any]]) -> Samples:
    """Return arrays as samples: one by itself, several as a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def single(samples: Samples, what: str) -> NDArray[Any]:
    """Return the only array.

    Args:
        samples: of a network's inputs.
        what: cannot do with several, for the error line.

    Raises:
        SecateurError: if there are several.
    """
    if isinstance(samples, tuple):
        raise SecateurError(f"{what}: works for networks with one input so far, this has {len(samples)}; leave it out")
    return samples


def sample_count(samples: Samples) -> int:
    """Return how many samples there are."""
    return len(arrays_of(samples)[0])


def take(samples: Samples, index: slice | NDArray[np.integer[Any]]) -> Samples:
    """Return some of the samples."""
    return samples_of([array[index] for array in arrays_of(samples)])


def joined(parts: Sequence[Samples]) -> Samples:
    """Return samples that were computed in batches as a whole."""
    return samples_of([np.concatenate(columns) for columns in zip(*map(arrays_of, parts))])
