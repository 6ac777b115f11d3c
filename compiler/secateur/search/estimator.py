"""What the planner asks of a model of a device: a roofline, or a table of measured latencies."""

from __future__ import annotations

from typing import Literal, Protocol

from secateur.ir.groups import Keep
from secateur.search.cost import Costs
from secateur_profiles import Profile

Source = Literal["roofline", "measured"]
"""Where planned latencies come from; plans, reports and manifests carry it."""


class Estimator(Protocol):
    """Latency, memory, energy and size of a network at given keep-counts, for one device profile and precision."""

    @property
    def profile(self) -> Profile:
        """Of the device."""

    @property
    def precision(self) -> str:
        """``int8``, ``fp32``, …"""

    @property
    def source(self) -> Source:
        """Where the latencies come from."""

    def latency_ms(self, costs: Costs, keep: Keep) -> float:
        """Estimate one inference, batch 1, with the profile's threads."""

    def memory_mb(self, costs: Costs, keep: Keep) -> float:
        """Estimate the peak memory of a fresh worker."""

    def energy_mj(self, latency_ms: float) -> float:
        """Estimate the energy of one inference of this latency, above idle."""

    def size_kb(self, costs: Costs, keep: Keep) -> float:
        """Estimate the model file."""
