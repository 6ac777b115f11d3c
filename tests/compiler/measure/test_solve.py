"""From the times of networks to those of operators: overheads and what stands beside are taken out again."""

from __future__ import annotations

import pytest

from secateur.ir import SizedOperator
from secateur.measure import Probe, Times, all_probes, solve
from secateur.search.measurement_points import standard_operators

RUN_MS = 0.02
"""Of a run of the invented runtime, whatever the network."""


def true_ms(operator: SizedOperator) -> float:
    """What an operator takes on the invented device, alike in both directions."""
    macs, _, moved = operator.signature.work(operator.channels_in, operator.channels_out)
    return 1e-3 + 1e-7 * macs + 1e-8 * moved * (operator.channels_in == operator.channels_out)


def network_ms(probe: Probe, length: int) -> float:
    there_and_back = probe.per_unit * true_ms(probe.target)
    return RUN_MS + length * (there_and_back + sum(true_ms(other) for other in probe.others))


def test_every_operator_is_found_again() -> None:
    probes = all_probes(standard_operators(8))
    times = {
        operator: [Times(network_ms(probe, length), 1.5 * network_ms(probe, length)) for length in probe.lengths]
        for operator, probe in probes.items()
    }
    found = solve(probes, times)
    assert set(found) >= set(probes)
    for operator, solved in found.items():
        assert solved.p50_ms == pytest.approx(true_ms(operator), rel=1e-6)
        assert solved.p95_ms == pytest.approx(1.5 * solved.p50_ms)


def test_noise_never_makes_a_time_negative() -> None:
    probes = all_probes(standard_operators(8))
    found = solve(probes, dict.fromkeys(probes, (Times(1.0, 1.0), Times(0.5, 0.6))))
    assert min(times.p50_ms for times in found.values()) > 0
