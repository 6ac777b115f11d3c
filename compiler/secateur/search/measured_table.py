"""Latencies from a table of measurements; what is not in it from the roofline, scaled by what the table shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import exp, log

import numpy as np

from secateur.ir import Signature
from secateur.ir.groups import Keep
from secateur.search.cost import Cost, Costs
from secateur.search.estimator import Source
from secateur.search.interpolation import Surface
from secateur.search.latency_table import LatencyTable
from secateur.search.roofline import Roofline
from secateur_profiles import Profile

MEASURED_SHARE = 0.75
"""If less of a network's time than this comes from measured operators, its plan says ``roofline``."""


class Basis(Enum):
    """What the estimate of an operator rests on."""

    TABLE = "measured"
    FAMILY = "measured at other sizes"
    SCALED = "roofline, scaled"


@dataclass(frozen=True)
class Estimate:
    """One operator's latency and what it rests on."""

    latency_ms: float
    basis: Basis


class MeasuredTable:
    """Estimates for one device profile and precision from measurements; memory, energy and size are the roofline's."""

    def __init__(self, table: LatencyTable, profile: Profile) -> None:
        """Prepare the table for a profile.

        Args:
            table: of this profile.
            profile: whose roofline carries interpolation and stands in for what was not measured.
        """
        self.table = table
        self.profile = profile
        self.precision = table.key.precision
        self._roofline = Roofline(profile, self.precision)
        grid = profile.grid.channels
        self._surfaces = {e.signature: Surface(e.points, self._reference(e.signature), grid) for e in table.entries}
        self._families: dict[tuple[object, ...], list[Signature]] = {}
        for signature in self._surfaces:
            self._families.setdefault(signature.family, []).append(signature)
        self._typical: dict[str, float] = {}
        self._source: Source = "measured"
        self._cache: dict[tuple[Signature, int, int], Estimate] = {}

    @property
    def source(self) -> Source:
        """``measured``, unless `assess` found that they rest on the roofline after all."""
        return self._source

    def latency_ms(self, costs: Costs, keep: Keep) -> float:
        """Estimate one inference: the sum of its operators, corrected by what whole networks took."""
        total = self.operators_ms(costs, keep)
        found = self.table.calibration
        return max(found.scale * total + found.offset_ms, 0.1 * total)

    def operators_ms(self, costs: Costs, keep: Keep) -> float:
        """Return the sum of the operators, not corrected."""
        return costs.total(keep, self._operator_ms)

    def operator(self, cost: Cost) -> Estimate:
        """Estimate one operator; never less than the table's overhead of an operator."""
        key = (cost.signature, cost.channels_in, cost.channels_out)
        if key not in self._cache:
            found = self._operator(cost)
            self._cache[key] = Estimate(max(found.latency_ms, self.table.operator_overhead_ms), found.basis)
        return self._cache[key]

    def _operator_ms(self, cost: Cost) -> float:
        return self.operator(cost).latency_ms

    def not_measured(self, costs: Costs, keep: Keep) -> tuple[float, list[str]]:
        """Return the share of the time that rests on no measured operator of its kind, and those operators."""
        found = [(self.operator(cost), cost) for cost in costs.of(keep)]
        rest = [(estimate, cost) for estimate, cost in found if estimate.basis is Basis.SCALED]
        total = sum(estimate.latency_ms for estimate, _ in found)
        return sum(e.latency_ms for e, _ in rest) / total, sorted({str(cost.signature) for _, cost in rest})

    def assess(self, costs: Costs, keep: Keep) -> list[str]:
        """Find out how much of a network the table knows, and call the plan ``roofline`` if it is too little.

        Returns:
            A line for the user if anything was not measured.
        """
        share, names = self.not_measured(costs, keep)
        self._source = "measured" if share <= 1 - MEASURED_SHARE else "roofline"
        if not names:
            return []
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return [
            f"latency table for {self.profile.name}: {share:.0%} of the time is estimated by a scaled roofline "
            f"({'; '.join(names[:3])}{more}), so latencies are called {self._source}"
        ]

    def memory_mb(self, costs: Costs, keep: Keep) -> float:
        """Estimate the peak memory of a fresh worker."""
        return self._roofline.memory_mb(costs, keep)

    def energy_mj(self, latency_ms: float) -> float:
        """Estimate the energy of one inference of this latency, above idle."""
        return self._roofline.energy_mj(latency_ms)

    def size_kb(self, costs: Costs, keep: Keep) -> float:
        """Estimate the model file."""
        return self._roofline.size_kb(costs, keep)

    def _operator(self, cost: Cost) -> Estimate:
        a, b = cost.channels_in, cost.channels_out
        surface = self._surfaces.get(cost.signature)
        if surface is not None:
            return Estimate(surface.latency_ms(a, b), Basis.TABLE)
        relatives = self._families.get(cost.signature.family)
        if relatives:
            # The same operator at other sizes: how far each is from its roofline, the nearer in size the heavier.
            reference, size = self._reference(cost.signature), _positions(cost.signature)
            ratios, weights = [], []
            for signature in relatives:
                ratios.append(log(self._surfaces[signature].latency_ms(a, b) / self._reference(signature)(a, b)))
                other = signature.activation != cost.signature.activation
                weights.append(1 / (log(_positions(signature) / size) ** 2 + 1e-3 * other + 1e-6))
            return Estimate(exp(float(np.average(ratios, weights=weights))) * reference(a, b), Basis.FAMILY)
        return Estimate(self._roofline.operator_ms(cost) * self._scale_of(cost.signature.op), Basis.SCALED)

    def _scale_of(self, op: str) -> float:
        """Measured ÷ roofline, median over the points of this operator, or of all if it has none."""
        if op not in self._typical:
            same = [e for e in self.table.entries if e.signature.op == op] or list(self.table.entries)
            ratios = [
                point.p50_ms / self._reference(entry.signature)(point.channels_in, point.channels_out)
                for entry in same
                for point in entry.points
            ]
            self._typical[op] = float(np.median(ratios))
        return self._typical[op]

    def _reference(self, signature: Signature) -> _Reference:
        return _Reference(self._roofline, signature)


@dataclass(frozen=True)
class _Reference:
    """The roofline of one signature as a function of its widths."""

    roofline: Roofline
    signature: Signature

    def __call__(self, channels_in: int, channels_out: int) -> float:
        cost = Cost(*self.signature.work(channels_in, channels_out), channels_in, channels_out, self.signature)
        return self.roofline.operator_ms(cost)


def _positions(signature: Signature) -> int:
    return int(np.prod(signature.size_in, dtype=np.int64)) or 1
