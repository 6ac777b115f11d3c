"""L2 on the channels that are to be removed, growing step by step: what they carry moves elsewhere before they go.

Wang, Qin, Zhang, Fu: Neural Pruning via Growing Regularization, ICLR 2021 (GReg-1). The channels are the lower half of each
group by the criterion, chosen once before the phase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups
from secateur.tuning.channels import ChannelParameters
from secateur.tuning.regularisers.registry import Parameters, regulariser

SHARE = 0.5
_STAIRS = 20


@regulariser("l2", strength=1.0)
def growing_l2(
    groups: Groups, scores: Mapping[str, NDArray[np.float64]], steps: int, strength: float
) -> Callable[[int, Parameters], Tensor]:
    """λ · Σ ‖parameters of a channel to be removed‖² / 2, λ growing in stairs from 0 to ``strength``."""
    channels = ChannelParameters(groups)
    doomed = {}
    for group in groups.groups:
        order = np.argsort(-np.asarray(scores[group.id], np.float64), kind="stable")
        doomed[group.id] = torch.from_numpy(order[max(1, group.size - int(SHARE * group.size)) :].copy())

    def penalty(step: int, parameters: Parameters) -> Tensor:
        growth = strength * (1 + step * _STAIRS // max(steps, 1)) / _STAIRS
        squares = channels.squares(parameters.weights, parameters.scales)
        found = [squares[name][index].sum() for name, index in doomed.items()]
        return 0.5 * growth * torch.stack(found).sum() if found else torch.zeros(())

    return penalty
