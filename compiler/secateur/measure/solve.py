"""From the times of probes to the times of operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from secateur.ir import SizedOperator
from secateur.measure.probes import Probe, mirrored, probe_for

LEAST_MS = 1e-4
"""Of an operator that the runtime merges into its neighbour, so that it takes no time of its own."""


@dataclass(frozen=True)
class Times:
    """Latency of one operator or network, p50 and p95 in ms."""

    p50_ms: float
    p95_ms: float


def all_probes(operators: Iterable[SizedOperator]) -> dict[SizedOperator, Probe]:
    """Return the probes of operators and of all that must be known to solve them; those without a probe are left out."""
    found: dict[SizedOperator, Probe] = {}
    waiting = list(operators)
    while waiting:
        operator = waiting.pop()
        other = found.get(mirrored(operator))
        if operator in found or (other is not None and other.per_unit == 2):
            continue
        if (probe := probe_for(operator)) is not None:
            found[operator] = probe
            waiting += probe.others
    return found


def solve(
    probes: Mapping[SizedOperator, Probe], times: Mapping[SizedOperator, Sequence[Times]]
) -> dict[SizedOperator, Times]:
    """Return the time that each operator adds to a network.

    The p95 is the p50 times what the longer network's p95 is of its p50: the tail of a run cannot be shared out.

    Args:
        probes: from `all_probes`.
        times: operator → times of its shorter and its longer network.
    """
    found: dict[SizedOperator, Times] = {}

    def value(operator: SizedOperator) -> Times:
        if operator not in found:
            probe, (short, long) = probes[operator], times[operator]
            per_unit = (long.p50_ms - short.p50_ms) / (probe.lengths[1] - probe.lengths[0])
            rest = per_unit - sum(value(other).p50_ms for other in probe.others)
            p50_ms = max(rest / probe.per_unit, LEAST_MS)
            found[operator] = Times(p50_ms, p50_ms * max(1.0, long.p95_ms / long.p50_ms))
        return found[operator]

    for operator, probe in probes.items():
        solved = value(operator)
        if probe.per_unit == 2:
            found[mirrored(operator)] = solved
    return found
