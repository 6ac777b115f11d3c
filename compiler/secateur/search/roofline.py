"""A roofline estimate of latency, memory and energy from a device profile.

Williams, Waterman, Patterson: Roofline, CACM 2009: an operator takes the longer of its arithmetic at peak rate and its
memory traffic at peak bandwidth; here plus a fixed cost. It is an estimate, and everything made from it says ``roofline``.
"""

from __future__ import annotations

from dataclasses import dataclass

from secateur.ir import PRECISIONS, Precision
from secateur.ir.groups import Keep
from secateur.search.cost import Cost, Costs
from secateur.search.estimator import Source
from secateur.search.worker_memory import worker_memory
from secateur_profiles import Profile


@dataclass(frozen=True)
class Roofline:
    """Estimates for one device profile and precision; layers with the weights ``floating`` compute in float."""

    profile: Profile
    precision: str
    floating: frozenset[str] = frozenset()

    @property
    def source(self) -> Source:
        """Where the latencies come from."""
        return "roofline"

    @property
    def _kind(self) -> Precision:
        return PRECISIONS[self.precision]

    def operator_ms(self, cost: Cost) -> float:
        """Estimate one operator; its output channels are rounded up to the profile's grid, as kernels do."""
        cpu, grid = self.profile.cpu, self.profile.grid.channels
        kind = PRECISIONS["fp32"] if cost.weight in self.floating else self._kind
        rate = cpu.int8_macs_per_cycle if kind.activations else cpu.fp32_macs_per_cycle
        padded = -(-cost.channels_out // grid) * grid / max(1, cost.channels_out)
        threads = min(self.profile.runtime.threads, cpu.cores)
        arithmetic_ms = cost.macs * padded / (rate * threads * cpu.clock_mhz * 1e3)
        # What is stored in less and computed in float is widened once, when the runtime loads it.
        size = kind.bytes_per_activation
        traffic = (cost.weight_elements + cost.activation_elements) * size
        memory_ms = traffic / (cpu.memory_bandwidth_gb_s * 1e6)
        return max(arithmetic_ms, memory_ms) + cpu.op_overhead_us / 1e3

    def latency_ms(self, costs: Costs, keep: Keep) -> float:
        """Estimate one inference, batch 1, with the profile's threads."""
        return costs.total(keep, self.operator_ms)

    def memory_mb(self, costs: Costs, keep: Keep) -> float:
        """Estimate the peak memory of a fresh worker: the bare runtime, and what `worker_memory` adds."""
        added = worker_memory(self.profile.runtime.name, self.precision)
        peak_mb = added.peak_mb(costs.params(keep), costs.peak_activation_elements(keep))
        return self.profile.memory.runtime_base_mb + peak_mb

    def energy_mj(self, latency_ms: float) -> float:
        """Estimate the energy of one inference above idle: busy cores' share of the board's range × latency."""
        return self.profile.inference_mw * latency_ms / 1e3

    def size_kb(self, costs: Costs, keep: Keep) -> float:
        """Estimate the model file."""
        return (costs.params(keep) * self._kind.bytes_per_weight + 40 * costs.nodes(keep)) / 1024
