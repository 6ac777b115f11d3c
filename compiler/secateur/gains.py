"""What each step of repair gives a rung: the metric after the cut alone, and after every step that followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secateur.ir import Network
from secateur.ir.groups import Keep, KeepKey, keep_key
from secateur.master import Master
from secateur.pruning import cut


@dataclass(frozen=True)
class Gains:
    """The metric of one network on validation, in float, step by step.

    Attributes:
        cut: the original's channels removed, nothing else.
        recalibrated: the original's weights, with the statistics of every channel measured anew.
        reconstructed: with shared weights solved in closed form.
        tuned: as it is shipped, but for the precision.
    """

    cut: float
    recalibrated: float
    reconstructed: float
    tuned: float


def measure_gains(
    untuned: Master, reconstructed: Master, tuned: Master, keeps: Sequence[Keep], metric: Callable[[Network], float]
) -> dict[KeepKey, Gains]:
    """Measure what each step gave.

    Args:
        untuned: cuts the original's own weights.
        reconstructed: cuts the weights that were solved.
        tuned: cuts the weights that are shipped.
        keeps: of the rungs.
        metric: of a network on validation.

    Returns:
        Key of keep-counts → gains.
    """
    found: dict[KeepKey, Gains] = {}
    for keep in keeps:
        if keep_key(keep) not in found:
            # Where nothing was tuned, the last two are one.
            masters = [untuned, reconstructed] if tuned is reconstructed else [untuned, reconstructed, tuned]
            steps = [cut(untuned.network, untuned.groups, keep), *(master.rung_network(keep) for master in masters)]
            first, second, third, *last = [round(metric(network), 6) for network in steps]
            found[keep_key(keep)] = Gains(first, second, third, last[0] if last else third)
    return found
