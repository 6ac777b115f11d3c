"""An index names elements of an axis by number, and the numbers change."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.ir import Node
from secateur.pruning.adjustments.registry import Change, adjustment


@adjustment("Take")
def _take(node: Node, change: Change) -> dict[str, Any]:
    axis = node.attrs["axis"]
    wanted = np.asarray(node.attrs["index"])[change.left(node.output, axis)]
    return {"index": tuple(int(i) for i in np.searchsorted(change.left(node.inputs[0], axis), wanted))}
