"""Keeps the largest rung as good as the original, whatever tuning did for the others.

Wortsman et al.: Robust fine-tuning of zero-shot models, CVPR 2022: weights on the straight line between a network and what
fine-tuning made of it are good networks too. So the shared weights are moved back along that line just as far as the largest
rung needs; at its end they are the original's, and the smaller rungs are cut from those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secateur.ir import Network
from secateur.master import Master
from secateur.tuning import Statistics

ALLOWED = 0.002
"""What the largest rung may lose, in units of the metric (0 to 1)."""
SHARES = (0.9, 0.75, 0.5, 0.25, 0.0)
"""Of the way to the tuned weights. The last is the untuned master, which is always good enough: its largest rung is the
original itself, and the others are recalibrated to it."""


def protect_largest(
    untuned: Master, tuned: Master, metric: Callable[[Network], float], allowed: float = ALLOWED
) -> tuple[Master, float]:
    """Move the shared weights back towards the original's until the largest rung is as good as it was.

    Args:
        untuned: what the original's own weights and statistics give.
        tuned: what tuning made of it.
        metric: of a network on validation data, 0 to 1, higher is better.
        allowed: what the largest rung may lose.

    Returns:
        The master, and the share of the way to the tuned one that it lies at: 1 is all of tuning, 0 none.
    """
    full = untuned.groups.full()
    floor = metric(untuned.network) - allowed

    def good(master: Master) -> bool:
        return metric(master.rung_network(full)) >= floor

    if good(tuned):
        return tuned, 1.0
    # The further along the line, the worse: so halves of what is left are enough.
    left = list(SHARES)
    while len(left) > 1:
        middle = (len(left) - 1) // 2
        left = left[: middle + 1] if good(_on_the_line(untuned, tuned, left[middle])) else left[middle + 1 :]
    (share,) = left
    return (_on_the_line(untuned, tuned, share) if share else untuned), share


def explain(share: float, allowed: float) -> list[str]:
    """Return a line for the user if tuning was not taken whole.

    Args:
        share: how far it was taken, 0 to 1.
        allowed: what the largest rung may lose, in units of the metric.
    """
    if share == 1:
        return []
    return [
        f"tuning: taken to {share:.0%} of its way, or the largest rung would lose more than {100 * allowed:g} points on "
        "validation; smaller rungs are worse for it. A network that was trained on the validation samples knows them by "
        "heart: then give others, or allow more with --largest-may-lose"
    ]


def _on_the_line(untuned: Master, tuned: Master, share: float) -> Master:
    weights = {
        name: weight + share * (tuned.network.weights[name] - weight) for name, weight in untuned.network.weights.items()
    }
    (_, before), *_ = untuned.goals
    goals = []
    for keep, after in tuned.goals:
        mixed = {}
        for name, goal in after.items():
            kept = untuned.groups.kept((f"table:{name}", 0), len(before[name].mean), keep)
            mean, deviation = before[name].mean[kept], before[name].deviation[kept]
            mixed[name] = Statistics(mean + share * (goal.mean - mean), deviation + share * (goal.deviation - deviation))
        goals.append((keep, mixed))
    return replace(untuned, network=untuned.network.with_values(weights=weights), goals=goals)
