"""A network cut from shared weights, as tuning sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Network
from secateur.tuning.recalibration import Statistics

Index = NDArray[np.int64]


@dataclass
class Subnetwork:
    """A network cut from the shared weights.

    Attributes:
        network: the cut network: its nodes say how to run it, its tables are where dead channels and the output begin.
        index: weight → kept indices of each of its axes.
        tables: table → kept channels.
        targets: table → statistics at which its private values begin.
    """

    network: Network
    index: Mapping[str, tuple[Index, ...]]
    tables: Mapping[str, Index]
    targets: Mapping[str, Statistics]
