"""Gradual: masks tighten while the network is trained; a masked channel stays masked.

Zhu, Gupta: To prune, or not to prune, ICLR workshop 2018: the removed share grows as s · (1 − (1 − t/T)³), quickly first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Network
from secateur.pruning import Ranking, keep_counts
from secateur.scheduling.registry import Material, Outcome, schedule
from secateur.tuning import Masking, SandwichSettings, measure_statistics, train_phase

REMOVED_SHARE = 0.75
TIGHTENINGS = 10
_SETTLED = 0.8
"""Of the steps; in the rest nothing more is masked."""


def cubic_share(step: int, steps: int, final: float) -> float:
    """Return the share of channels that is removed at a step.

    Args:
        step: from 0.
        steps: until the final share is reached.
        final: the final share.
    """
    done = min(step / max(steps, 1), 1.0)
    return final * (1 - (1 - done) ** 3)


@schedule("gradual")
def gradual(material: Material) -> Outcome:
    """Rank while training for ``material.steps``; what is masked early ranks last."""
    ranking, history = Ranking(material.groups), []
    interval = max(1, material.steps // TIGHTENINGS)

    def choose(step: int, network: Network) -> dict[str, NDArray[np.bool_]]:
        share = cubic_share(step + interval, round(_SETTLED * material.steps), REMOVED_SHARE)
        scores = _score(material, network, ranking)
        ranking.remove(scores, keep_counts(material.groups, share))
        history.append({name: mask.copy() for name, mask in ranking.alive.items()})
        return ranking.alive

    trained = train_phase(
        material.network,
        material.groups,
        material.data,
        SandwichSettings(steps=material.steps, seed=material.seed),
        masking=Masking(choose, interval, regrow=False),
        on_step=lambda step, _: material.on_step(step),
    )
    return Outcome(trained, ranking.scores(_score(material, trained, ranking)), history)


def _score(material: Material, network: Network, ranking: Ranking) -> dict[str, NDArray[np.float64]]:
    return material.score_remaining(network, ranking.alive, measure_statistics(network, material.calibration))
