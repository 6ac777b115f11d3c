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
            masters = {"recalibrated": untuned, "reconstructed": reconstructed, "tuned": tuned}
            states = {id(master): master for master in masters.values()}  # where nothing was tuned, two are one
            values = {key: round(metric(master.rung_network(keep)), 6) for key, master in states.items()}
            whole = keep == untuned.groups.full() and not untuned.tuned  # then nothing is cut, nor recalibrated
            plain = values[id(untuned)] if whole else round(metric(cut(untuned.network, untuned.groups, keep)), 6)
            found[keep_key(keep)] = Gains(plain, **{name: values[id(master)] for name, master in masters.items()})
    return found
