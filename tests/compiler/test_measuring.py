"""From a network to a table: with this machine's runtime, and with another machine that does the timing."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest
from tests.compiler import digits

from secateur.graph import find_groups
from secateur.ir import SecateurError
from secateur.measure import Times
from secateur.measuring import SHARES, Here, fit, measure_table
from secateur.search import Costs, MeasuredTable
from secateur.search.latency_table import decode_table, encode_table
from secateur_profiles import load

GATEWAY = "linux-x86-64"


class Remote:
    """Another machine, on which every weight takes a nanosecond, every node a microsecond and every run ten."""

    def __init__(self) -> None:
        self.files = 0

    def __call__(self, files: Sequence[bytes], precision: str, threads: int) -> Sequence[Times]:
        assert (precision, threads) == ("fp32", 1)
        self.files += len(files)
        found = []
        for data in files:
            graph = onnx.load_from_string(data).graph
            weights = sum(len(value.raw_data) // 4 for value in graph.initializer if len(value.dims) > 1)
            p50 = 1e-2 + 1e-3 * len(graph.node) + 1e-6 * weights
            found.append(Times(p50, 2 * p50))
        return found


def test_another_machine_times_the_same_files() -> None:
    network, profile, remote = digits.network(), load(GATEWAY), Remote()
    groups = find_groups(network)
    table = measure_table(profile, "fp32", network, remote)
    assert remote.files > 20
    assert decode_table(encode_table(table), "t") == table
    assert table.calibration.checked == len(SHARES)
    assert table.calibration.scale == pytest.approx(1, rel=0.05)
    model, costs = MeasuredTable(table, profile), Costs(network, groups)
    weights = sum(cost.weight_elements for cost in costs.of(groups.full()))
    planned = model.latency_ms(costs, groups.full())
    # Each layer is a convolution, a product and a sum, and an activation; then a mean, a reshape and the head's three.
    assert planned == pytest.approx(1e-2 + 1e-3 * 17 + 1e-6 * weights, rel=0.1)


def test_this_machine_is_measured_in_seconds() -> None:
    told: list[tuple[str, int, int]] = []
    network, profile = digits.network(), load(GATEWAY)
    table = measure_table(profile, "int8", network, Here(rounds=1), lambda *what: told.append(what))
    assert (table.key.profile, table.key.precision, table.key.threads) == (GATEWAY, "int8", 1)
    assert told[-1][0] == "check"
    assert ("time", told[-2][2], told[-2][2]) == told[-2]
    groups = find_groups(network)
    model = MeasuredTable(table, profile)
    assert model.assess(Costs(network, groups), groups.full()) == []
    assert model.source == "measured"
    assert model.latency_ms(Costs(network, groups), groups.full()) > 0


def test_a_profile_of_another_runtime_or_precision_cannot_be_measured_here() -> None:
    with pytest.raises(SecateurError, match="cannot be measured here"):
        measure_table(load(GATEWAY), "fp16", digits.network())


def test_the_correction_is_a_line_through_whole_networks() -> None:
    found = fit([1.0, 2.0, 4.0], [1.7, 2.9, 5.3], 0.01)
    assert (found.scale, found.offset_ms, found.checked) == (pytest.approx(1.2), pytest.approx(0.5), 3)


@pytest.mark.parametrize("measured", [[9.0, 9.1, 9.0], [5.0, 2.0, 1.0]])
def test_a_line_that_makes_no_sense_is_not_used(measured: list[float]) -> None:
    found = fit([1.0, 2.0, 4.0], measured, 0.01)
    assert 0.2 <= found.scale <= 5
    assert found.offset_ms == 0.01


def test_one_network_gives_a_ratio() -> None:
    found = fit([2.0], [3.01], 0.01)
    assert (found.scale, found.offset_ms) == (pytest.approx(1.5), 0.01)
