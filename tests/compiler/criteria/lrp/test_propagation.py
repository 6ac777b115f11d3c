"""Relevance is conserved: what an output has, the inputs have, but for what shifts absorb."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.compiler.evidence import evidence_for, evidence_of, without_shifts
from tests.compiler.networks import TOPOLOGIES
from torch import Tensor, nn

from secateur.criteria.lrp import RULES, Relevance, Settings, Step, propagate
from secateur.criteria.lrp.criterion import decisions
from secateur.criteria.lrp.propagation import record, without_rule
from secateur.criteria.lrp.registry import by_contribution, per_sample
from secateur.ir import Network
from secateur.twin import fixed_values

EXACT = [Settings(epsilon=0.0), Settings(epsilon=0.0, positive=True)]
every_rule = pytest.mark.parametrize("settings", EXACT, ids=["epsilon", "z-plus"])
every_topology = pytest.mark.parametrize("name", TOPOLOGIES)


def relevance_of(
    network: Network, inputs: object, settings: Settings
) -> tuple[dict[str, Tensor], dict[str, Tensor], Relevance]:
    """Return every tensor, where relevance begins, and all relevance, in float64."""
    values = fixed_values(network, torch.float64)
    tensors = record(network, values, {"input": torch.as_tensor(inputs, dtype=torch.float64)})
    start = decisions(network, tensors)
    return tensors, start, propagate(network, values, tensors, start, settings)


def magnitude(relevance: Relevance) -> float:
    """Return the largest sum of absolute relevance: rounding errors are relative to that."""
    return max(float(per_sample(value.abs()).max()) for value in relevance.tensors.values())


@every_rule
@every_topology
def test_without_shifts_all_relevance_arrives_at_the_input(name: str, settings: Settings) -> None:
    evidence = evidence_of(name)
    network = without_shifts(evidence.network)
    nodes = [node.with_attrs(shift=0.0) if node.op == "ScalarAffine" else node for node in network.nodes]
    _, start, found = relevance_of(replace(network, nodes=nodes), evidence.inputs, settings)
    began = sum((per_sample(value) for value in start.values()), torch.zeros(1))
    assert (began.abs() > 0).all()
    torch.testing.assert_close(per_sample(found.tensors["input"]), began, rtol=0, atol=1e-7 * magnitude(found))


@every_rule
@every_topology
def test_with_shifts_what_is_missing_is_what_they_absorbed(name: str, settings: Settings) -> None:
    evidence = evidence_of(name)
    _, start, found = relevance_of(evidence.network, evidence.inputs, settings)
    began = sum((per_sample(value) for value in start.values()), torch.zeros(1))
    absorbed = sum(found.absorbed.values(), torch.zeros(1))
    assert absorbed.abs().max() > 1e-3 * began.abs().max()
    arrived = per_sample(found.tensors["input"]) + absorbed
    torch.testing.assert_close(arrived, began, rtol=0, atol=1e-7 * magnitude(found))


@every_rule
@every_topology
def test_each_layer_conserves_relevance(name: str, settings: Settings) -> None:
    evidence = evidence_of(name)
    tensors, _, found = relevance_of(evidence.network, evidence.inputs, settings)
    values = fixed_values(evidence.network, torch.float64)
    seen = 0
    for node in evidence.network.nodes:
        if node.output in found.tensors and node.op != "Softmax":
            inputs, relevance = [tensors[name] for name in node.inputs], found.tensors[node.output]
            passed = RULES[node.op](Step(node, inputs, tensors[node.output], relevance, values, settings))
            parts = sum((per_sample(part) for part in passed.inputs), torch.zeros(1))
            total = parts if passed.absorbed is None else parts + passed.absorbed
            scale = max(float(per_sample(part.abs()).max()) for part in [relevance, *passed.inputs])
            torch.testing.assert_close(
                total, per_sample(relevance), rtol=0, atol=1e-7 * scale, msg=f"{node.op} {node.output}"
            )
            seen += 1
    assert seen > 4


def test_the_last_shift_absorbs_its_own_value() -> None:
    evidence = evidence_of("mlp")
    tensors, _, found = relevance_of(evidence.network, evidence.inputs, EXACT[0])
    last = evidence.network.nodes[-1]
    shift = torch.from_numpy(evidence.network.tables[last.attrs["table"]].shift).double()
    torch.testing.assert_close(found.absorbed[last.output], shift[tensors[last.output].argmax(1)])


@every_rule
def test_more_epsilon_absorbs_more(settings: Settings) -> None:
    evidence = evidence_of("vgg")
    network = without_shifts(evidence.network)
    arrived = []
    for epsilon in (0.0, 0.3, 3.0):
        _, _, found = relevance_of(network, evidence.inputs, replace(settings, epsilon=epsilon))
        arrived.append(float(per_sample(found.tensors["input"]).abs().mean()))
    assert arrived[0] > arrived[1] > arrived[2]


class SoftmaxWithin(nn.Module):
    """A softmax over positions in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(2, 6, 3), nn.Conv1d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.softmax(self.first(x), 2))


def test_an_operator_without_a_rule_has_gradient_times_input() -> None:
    evidence = evidence_for(SoftmaxWithin(), (2, 9), 3)
    (node,) = without_rule(evidence.network)
    assert node.op == "Softmax"
    tensors, _, found = relevance_of(evidence.network, evidence.inputs, EXACT[0])
    x = tensors[node.inputs[0]].clone().requires_grad_()
    y = torch.softmax(x, 2)
    (gradient,) = torch.autograd.grad(y, x, found.tensors[node.output] / y.detach())
    torch.testing.assert_close(found.tensors[node.inputs[0]], x.detach() * gradient)
    assert node.op not in RULES
    assert by_contribution not in RULES.values()
