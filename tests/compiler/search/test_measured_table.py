"""The planner with measured latencies: cliffs are respected, what was not measured is told."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.compiler.networks import TOPOLOGIES, board, network_of
from tests.compiler.tables import table_of

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Budget, ChannelGroup, Groups, Network, SizedOperator
from secateur.ir.groups import Keep
from secateur.search import Costs, MeasuredTable, Roofline, importance_losses, plan_ladder, shrink_path
from secateur.search.latency_table import Calibration
from secateur.search.measured_table import Basis
from secateur.search.measurement_points import operators_of
from secateur_profiles import Profile

BLOCK = 8


def blocks(operator: SizedOperator) -> float:
    """A device whose kernels compute whole blocks of channels, and take 1.7 times as long beside one."""
    beside = 1.7 if operator.channels_out % BLOCK or operator.channels_in % BLOCK else 1.0
    padded = [-(-width // BLOCK) * BLOCK for width in (operator.channels_in, operator.channels_out)]
    macs, _, moved = operator.signature.work(*padded)
    return 1e-3 + (macs + moved) * beside * 1e-6


def fine(profile: Profile) -> Profile:
    """The same device with a grid of one: the planner may choose any width."""
    return msgspec.structs.replace(profile, grid=msgspec.structs.replace(profile.grid, channels=1))


def setting(name: str) -> tuple[Network, Groups, Costs]:
    network = network_of(name)
    groups = find_groups(network)
    return network, groups, Costs(network, groups)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_sum_of_measured_operators_is_corrected(name: str) -> None:
    _, groups, costs = setting(name)
    operators = operators_of(costs, groups, 4)
    table = table_of(operators, blocks)
    table = msgspec.structs.replace(table, calibration=Calibration(scale=1.25, offset_ms=0.5, checked=3))
    model = MeasuredTable(table, board())
    exact = sum(blocks(SizedOperator(c.signature, c.channels_in, c.channels_out)) for c in costs.of(groups.full()))
    assert model.latency_ms(costs, groups.full()) == pytest.approx(1.25 * exact + 0.5)
    assert {model.operator(cost).basis for cost in costs.of(groups.full())} == {Basis.TABLE}
    assert model.assess(costs, groups.full()) == []
    assert (model.source, model.precision) == ("measured", "fp32")
    assert model.memory_mb(costs, groups.full()) == Roofline(board(), "fp32").memory_mb(costs, groups.full())


def test_pruned_networks_do_not_get_slower_for_odd_widths() -> None:
    """Torch-Pruning#38: "pruned model got slower until widths were rounded"; #149, #382: FLOPs fall, frames do not.

    On a device with blocks of eight channels the planner may choose any width, and the table knows only some: it takes
    whole blocks, and every rung is faster than the one above.
    """
    network, groups, costs = setting("mlp")
    profile = fine(board())
    known = operators_of(costs, groups, BLOCK)
    full = [SizedOperator(c.signature, c.channels_in, c.channels_out) for c in costs.of(groups.full())]
    every = {
        SizedOperator(o.signature, a, b)
        for o in (*known, *full)
        for a in {o.channels_in, *range(1, o.channels_in)}
        for b in {o.channels_out, *range(1, o.channels_out)}
    }
    model = MeasuredTable(table_of(every, blocks), profile)
    scores = score("magnitude-l2", Evidence(network, groups))
    path = shrink_path(groups, importance_losses(groups, scores), partial(model.latency_ms, costs), profile.grid.channels)
    assert len(path) >= 4
    for step in path[1:]:
        assert all(kept % BLOCK == 0 or kept == g.size for g in groups.groups for kept in [step.keep[g.id]])
    plans = plan_ladder(path, costs, model, Budget(), 4)
    assert {plan.latency_source for plan in plans} == {"measured"}
    assert all(below.latency_ms < above.latency_ms for above, below in pairwise(plans))


def one_group(size: int) -> tuple[Groups, dict[str, NDArray[np.float64]]]:
    """One layer of equally important channels."""
    groups = Groups([ChannelGroup("g0", "layer", {("weight:layer", 0): np.arange(size).reshape(size, 1)})])
    return groups, importance_losses(groups, {"g0": np.ones(size)})


def test_33_channels_are_never_chosen_where_40_are_faster() -> None:
    def latency_ms(keep: Keep) -> float:
        padded = -(-keep["g0"] // 8) * 8
        return padded / 40 * (1.0 if keep["g0"] % 8 == 0 else 1.7)

    assert latency_ms({"g0": 33}) > latency_ms({"g0": 40}) > latency_ms({"g0": 32})
    widths = [step.keep["g0"] for step in shrink_path(*one_group(64), latency_ms, 1)]
    assert 33 not in widths
    assert widths == [64, 56, 48, 40, 32, 24, 16, 8]


def test_a_cliff_that_saves_next_to_nothing_is_passed() -> None:
    """32 and 24 channels take the same block: a greedy step of one width would find nothing to gain there."""
    took = {32: 1.0, 24: 0.9999, 16: 0.5, 8: 0.4999}
    path = shrink_path(*one_group(32), lambda keep: took[keep["g0"]], 8)
    assert [step.keep["g0"] for step in path][:2] == [32, 16]


def test_operators_of_other_sizes_stand_in_and_the_rest_is_a_scaled_roofline_that_says_so() -> None:
    _, groups, costs = setting("resnet-b")
    every = operators_of(costs, groups, 4)
    roofline = Roofline(board(), "fp32")
    largest = max(o.signature.size_in for o in every)
    only = [o for o in every if o.signature.size_in == largest and o.signature.strides == (1, 1)]

    def triple(operator: SizedOperator) -> float:
        found = next(c for c in costs.of(groups.full()) if c.signature == operator.signature)
        work = operator.signature.work(operator.channels_in, operator.channels_out)
        cost = type(found)(*work, operator.channels_in, operator.channels_out, operator.signature)
        return 3 * roofline.operator_ms(cost)

    model = MeasuredTable(table_of(only, triple), board())
    bases = {}
    for cost in costs.of(groups.full()):
        found = model.operator(cost)
        bases[str(cost.signature)] = found.basis
        assert found.latency_ms == pytest.approx(3 * roofline.operator_ms(cost), rel=1e-6)
    assert set(bases.values()) == {Basis.TABLE, Basis.FAMILY, Basis.SCALED}
    (note,) = model.assess(costs, groups.full())
    assert "scaled roofline" in note
    assert any(name in note for name, basis in bases.items() if basis is Basis.SCALED)
    share, _ = model.not_measured(costs, groups.full())
    assert model.source == ("measured" if share <= 0.25 else "roofline")


def test_a_table_that_knows_little_of_a_network_is_not_called_measured() -> None:
    _, groups, costs = setting("resnet-b")
    head = [o for o in operators_of(costs, groups, 4) if o.signature.op == "Linear"]
    model = MeasuredTable(table_of(head, blocks), board())
    (note,) = model.assess(costs, groups.full())
    assert model.source == "roofline"
    assert "called roofline" in note
