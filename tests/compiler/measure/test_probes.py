"""Probes are networks that the runtime takes, and hold the operator as often as they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from tests.compiler.networks import TOPOLOGIES, network_of

from secateur.evaluation import Session
from secateur.graph import find_groups
from secateur.ir import Signature, SizedOperator
from secateur.measure import all_probes, probe_for
from secateur.measuring import probe_file
from secateur.search import Costs
from secateur.search.measurement_points import operators_of, standard_operators


def dense(size: int, kernel: int = 3, stride: int = 1, activation: str = "Relu") -> Signature:
    out = -(-size // stride)
    return Signature("Conv", (size,) * 2, (out,) * 2, (kernel,) * 2, (stride,) * 2, (), "dense", activation)


OPERATORS = [
    SizedOperator(dense(8), 16, 16),
    SizedOperator(dense(8), 8, 16),
    SizedOperator(dense(9, stride=2), 8, 16),
    SizedOperator(dense(8), 3, 8),
    SizedOperator(dense(8, kernel=1, activation="Clip"), 8, 16),
    SizedOperator(replace(dense(8), groups="depthwise"), 16, 16),
    SizedOperator(replace(dense(8, stride=2), groups="depthwise"), 16, 16),
    SizedOperator(Signature("Conv", (16,), (16,), (5,), (1,), (), "dense", "Relu"), 8, 8),
    SizedOperator(Signature("Linear", activation="Relu"), 24, 10),
    SizedOperator(Signature("Linear", (5,), (5,)), 8, 16),
    SizedOperator(Signature("Add", (8, 8), (8, 8), activation="Relu"), 16, 16),
    SizedOperator(Signature("HardSwish", (8, 8), (8, 8)), 16, 16),
    SizedOperator(Signature("MaxPool", (8, 8), (4, 4), (2, 2), (2, 2)), 16, 16),
    SizedOperator(Signature("AveragePool", (8, 8), (8, 8), (3, 3), (1, 1)), 16, 16),
    SizedOperator(Signature("GlobalAveragePool", (8, 8), (1, 1)), 16, 16),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_longer_network_holds_the_operator_so_much_more_often(operator: SizedOperator, precision: str) -> None:
    probe = probe_for(operator)
    assert probe is not None
    short, long = probe.lengths
    counts = []
    for length in (short, long):
        network = probe.build(length)
        found = Costs(network, find_groups(network)).of(find_groups(network).full())
        # An operator there and back counts in both directions.
        pair = {operator.channels_in, operator.channels_out}
        like = [replace(c.signature, activation="") for c in found if {c.channels_in, c.channels_out} == pair]
        counts.append(Counter(like)[replace(operator.signature, activation="")])
        file = probe_file(network, precision)
        shape = next(iter(network.inputs.values()))[1:]
        outputs = Session(file).run(np.random.default_rng(1).standard_normal((1, *shape)).astype(np.float32))
        assert outputs.shape[1:] == next(iter(network.outputs.values()))[1:]
        assert np.isfinite(outputs).all()
        assert float(np.abs(outputs).max()) > 0
    assert counts[1] - counts[0] == probe.per_unit * (long - short)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_most_of_every_topology_can_be_timed(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    costs = Costs(network, groups)
    known = {operator.signature for operator in all_probes(operators_of(costs, groups, 4))}
    macs = [(cost.macs, cost.signature in known) for cost in costs.of(groups.full())]
    assert sum(count for count, timed in macs if timed) == sum(count for count, _ in macs)


def test_there_and_back_is_timed_once() -> None:
    pair = [SizedOperator(dense(8), 8, 16), SizedOperator(dense(8), 16, 8)]
    assert len(all_probes(pair)) == 1


@pytest.mark.parametrize("grid", [2, 8])
def test_all_that_must_be_subtracted_is_timed_too_and_none_rests_on_itself(grid: int) -> None:
    narrow = [SizedOperator(o.signature, grid, grid) for o in OPERATORS]
    probes = all_probes([*standard_operators(grid), *OPERATORS, *narrow])

    def depth(operator: SizedOperator, above: tuple[SizedOperator, ...] = ()) -> int:
        assert operator not in above
        return 1 + max((depth(other, (*above, operator)) for other in probes[operator].others), default=0)

    assert max(depth(operator) for operator in probes) == 3


@pytest.mark.parametrize(
    "operator",
    [
        SizedOperator(replace(dense(8), groups="grouped"), 16, 16),
        SizedOperator(replace(dense(8), groups="depthwise"), 8, 16),
        SizedOperator(Signature("Transpose", (8, 8), (8, 8)), 8, 8),
        SizedOperator(Signature("Sigmoid"), 8, 8),
    ],
    ids=str,
)
def test_what_no_probe_is_made_of_is_left_to_the_roofline(operator: SizedOperator) -> None:
    assert probe_for(operator) is None


def test_files_are_what_onnx_accepts() -> None:
    probe = probe_for(OPERATORS[0])
    assert probe is not None
    onnx.checker.check_model(onnx.load_from_string(probe_file(probe.build(2), "int8")))
