"""Dynamic: masks are chosen anew while the network trains, and masked channels keep learning, so that they can come back.

Guo, Yao, Chen: Dynamic Network Surgery for Efficient DNNs, NeurIPS 2016; Lin, Stich, Barba, Dmitriev, Jaggi: Dynamic Model
Pruning with Feedback, ICLR 2020: the gradient is taken where masked channels are silent, and applied to all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Network
from secateur.pruning import Ranking, keep_counts
from secateur.scheduling.gradual import cubic_share
from secateur.scheduling.registry import Material, Outcome, schedule
from secateur.tuning import Masking, SandwichSettings, train_phase

REMOVED_SHARE = 0.5
CHOICES = 20
_GROWING = 0.5
"""Of the steps; afterwards as many channels stay masked, but not the same ones."""


@schedule("dynamic")
def dynamic(material: Material) -> Outcome:
    """Rank by the scores that channels have after ``material.steps`` of training."""
    history: list[dict[str, NDArray[np.bool_]]] = []
    interval = max(1, material.steps // CHOICES)

    def choose(step: int, network: Network) -> dict[str, NDArray[np.bool_]]:
        share = cubic_share(step + interval, round(_GROWING * material.steps), REMOVED_SHARE)
        found = Ranking(material.groups)  # a new one each time: nothing is removed for good
        found.remove(material.score(network), keep_counts(material.groups, share))
        history.append(found.alive)
        return found.alive

    trained = train_phase(
        material.network,
        material.groups,
        material.data,
        SandwichSettings(steps=material.steps, seed=material.seed),
        masking=Masking(choose, interval, regrow=True),
        on_step=lambda step, _: material.on_step(step),
    )
    return Outcome(trained, material.score(trained), history)
