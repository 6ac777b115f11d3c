"""L1 on the scales of normalised channels: unneeded ones go to zero, so that what remains can be told by its scale.

Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups
from secateur.tuning.regularisers.registry import Parameters, regulariser


@regulariser("l1-scale", strength=0.1)
def l1_scale(
    groups: Groups, scores: Mapping[str, NDArray[np.float64]], steps: int, strength: float
) -> Callable[[int, Parameters], Tensor]:
    """``strength`` · Σ |scale| over all channels that can be cut."""
    del scores, steps
    cut: dict[str, Tensor] = {}
    for group in groups.groups:
        for name, _ in group.members:
            if name.startswith("table:"):
                index = torch.from_numpy(np.unique(group.members[name, 0]))
                key = name.removeprefix("table:")
                cut[key] = index if key not in cut else torch.cat([cut[key], index])

    def penalty(step: int, parameters: Parameters) -> Tensor:
        del step
        found = [parameters.scales[key][index].abs().sum() for key, index in cut.items() if key in parameters.scales]
        return strength * torch.stack(found).sum() if found else torch.zeros(())

    return penalty
