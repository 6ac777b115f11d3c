"""The bias of a layer in integers: what every runtime's kernel adds to its 32-bit sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.export.program import PrivateVector
from secateur.ir import Table


def integer_bias(table: Table, weight_scale: PrivateVector, input_scale: float) -> NDArray[np.int32]:
    """Return a private shift as int32, (out,), in units of weight scale × input scale.

    Args:
        table: of the layer.
        weight_scale: of each output channel, float32.
        input_scale: of the layer's input.
    """
    scale = (np.asarray(weight_scale.values, np.float32) * np.float32(input_scale)).astype("<f4")
    exact = np.rint(table.shift.astype(np.float64) / scale)
    values: NDArray[np.int32] = np.clip(exact, -(2**31) + 1, 2**31 - 1).astype("<i4")
    return values
