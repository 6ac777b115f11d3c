"""A rung: one network of the ladder."""

from __future__ import annotations

from dataclasses import dataclass, field

from secateur.ir.network import Network, Table


@dataclass
class Rung:
    """One network of the ladder, from its plan to what was measured of it.

    Attributes:
        id: ``r<n>-<precision>`` once packed; ``r<n>`` before the precision is known.
        keep: channel group → channels kept.
        network: the cut network: its weights are slices of the base.
        tables: private tables of this rung, cut to its channels.
        latency_ms: planned, batch 1, the profile's threads.
        macs: multiply-accumulate operations for one input.
    """

    id: str
    keep: dict[str, int]
    network: Network
    tables: dict[str, Table]
    latency_ms: float
    macs: int
    params: int = 0
    memory_mb: float = 0.0
    energy_mj: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
