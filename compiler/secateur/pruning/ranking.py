"""One ranking out of several rounds of cutting: channels that were removed early come last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups, SecateurError

Scores = dict[str, NDArray[np.float64]]


def keep_counts(groups: Groups, removed_share: float) -> dict[str, int]:
    """Return how many channels of each group remain when a share of them is removed; at least one.

    Args:
        groups: channel groups.
        removed_share: 0 to 1.
    """
    return {group.id: max(1, group.size - int(removed_share * group.size + 1e-9)) for group in groups.groups}


@dataclass
class Ranking:
    """Rounds of scoring and removing; begins with every channel.

    Attributes:
        groups: channel groups of the full network.
        alive: group id → whether each channel remains.
    """

    groups: Groups
    alive: dict[str, NDArray[np.bool_]] = field(init=False)
    _rounds: list[Scores] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alive = {group.id: np.ones(group.size, bool) for group in self.groups.groups}

    def remove(self, scores: Mapping[str, NDArray[np.float64]], keep: Mapping[str, int]) -> None:
        """Remove the channels of the lowest scores.

        Args:
            scores: group id → score of each remaining channel, in ascending order of the channels.
            keep: group id → how many remain.
        """
        self._note(scores)
        for name, mask in self.alive.items():
            left = np.flatnonzero(mask)
            order = np.argsort(-np.asarray(scores[name], np.float64), kind="stable")
            mask[left[order[max(1, keep[name]) :]]] = False

    def _note(self, scores: Mapping[str, NDArray[np.float64]]) -> None:
        found: Scores = {}
        for name, mask in self.alive.items():
            values = np.full(mask.size, np.nan)
            values[mask] = scores[name]
            if not np.isfinite(values[mask]).all():
                raise SecateurError(f"schedule: the criterion gives group {name} scores that are not finite numbers")
            found[name] = values
        self._rounds.append(found)

    def scores(self, last: Mapping[str, NDArray[np.float64]]) -> Scores:
        """Return one score per channel of the full network: a channel that was removed later has more.

        Scores of later rounds are brought to the scale of the first by the channels that two rounds share.

        Args:
            last: scores of the channels that remain at the end.
        """
        self._note(last)
        return {name: self._joined(name) for name in self.alive}

    def _joined(self, name: str) -> NDArray[np.float64]:
        rounds = [found[name] for found in self._rounds]
        unit, result = 1.0, np.zeros(rounds[0].size)
        sequence: list[int] = []
        for number, values in enumerate(rounds):
            now = np.isfinite(values)
            after = np.isfinite(rounds[number + 1]) if number + 1 < len(rounds) else np.zeros(values.size, bool)
            gone = np.flatnonzero(now & ~after)
            gone = gone[np.argsort(-values[gone], kind="stable")]
            result[gone] = unit * values[gone]
            sequence[:0] = gone.tolist()  # later rounds come first
            if after.any():
                total = float(rounds[number + 1][after].sum())
                unit *= float(values[after].sum()) / total if total > 0 else 1.0
        least = -np.inf
        for channel in reversed(sequence):  # strictly ascending from the worst on, so that no sort can mix rounds
            least = max(float(result[channel]), float(np.nextafter(least, np.inf)) if least > -np.inf else 0.0)
            result[channel] = least
        return result
