"""How much each network counts in a step of tuning that trains several.

Summed as they are, the losses of small networks, which are many times those of large ones, decide where shared weights go:
the large, which were nearly as good as the original before, are worse for it.
"""

from __future__ import annotations

_MEMORY = 0.9


class Balance:
    """Divides losses by a power of their running mean.

    Args:
        exponent: 0 sums losses as they are, 1 makes all of one size; between them small networks still count more, but less.
    """

    def __init__(self, exponent: float) -> None:
        self._exponent = exponent
        self._means: dict[int, float] = {}

    def weight(self, network: int, loss: float) -> float:
        """Remember a loss and return what to multiply it by; networks whose losses are average have 1.

        Args:
            network: its number.
            loss: in this step.
        """
        mean = _MEMORY * self._means.get(network, loss) + (1 - _MEMORY) * loss
        self._means[network] = mean
        average = sum(self._means.values()) / len(self._means)
        return float((average / mean) ** self._exponent) if mean > 0 else 1.0
