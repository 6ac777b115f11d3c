"""Group lasso: the norm of all parameters of a channel is punished, so that whole channels go to zero together.

Wen, Wu, Wang, Chen, Li: Learning Structured Sparsity in Deep Neural Networks, NeurIPS 2016. The norm takes in the filters
that make a channel, the weights that read it and its scale: a filter in front of a normalisation could shrink without
any effect.
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


@regulariser("group-lasso", strength=0.005)
def group_lasso(
    groups: Groups, scores: Mapping[str, NDArray[np.float64]], steps: int, strength: float
) -> Callable[[int, Parameters], Tensor]:
    """``strength`` · Σ √(parameters of the channel) · ‖parameters of the channel‖₂."""
    del scores, steps
    channels = ChannelParameters(groups)

    def penalty(step: int, parameters: Parameters) -> Tensor:
        del step
        counts = channels.counts(parameters.weights, parameters.scales)
        found = [
            counts[name] ** 0.5 * (squares + 1e-12).sqrt().sum()
            for name, squares in channels.squares(parameters.weights, parameters.scales).items()
        ]
        return strength * torch.stack(found).sum() if found else torch.zeros(())

    return penalty
