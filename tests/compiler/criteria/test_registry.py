"""What holds for every criterion: finite scores, the order of channels does not matter, every network can be cut by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.compiler.evidence import DATA_FREE, evidence_of, with_network, without_outgoing
from tests.compiler.networks import MAKERS, TOPOLOGIES, samples

from secateur.criteria import CRITERIA, Evidence, criterion, descriptions, score
from secateur.criteria.registry import normalised
from secateur.ir import SecateurError, Table
from secateur.pruning import cut, sort_groups
from secateur.twin import fixed_values, run

NEEDS_INPUTS = sorted(set(CRITERIA) - DATA_FREE)
GRADIENTS = ["fisher", "lrp", "lrp-z-plus", "taylor"]
every_criterion = pytest.mark.parametrize("name", sorted(CRITERIA))
every_topology = pytest.mark.parametrize("topology", TOPOLOGIES)


@every_topology
@every_criterion
def test_scores_are_finite_and_have_mean_one(topology: str, name: str) -> None:
    evidence = evidence_of(topology)
    scores = score(name, evidence)
    assert {key: value.shape for key, value in scores.items()} == {g.id: (g.size,) for g in evidence.groups.groups}
    for value in scores.values():
        assert value.dtype == np.float64
        assert np.isfinite(value).all()
        assert (value >= 0).all()
        assert value.mean() == pytest.approx(1)


@every_topology
@pytest.mark.parametrize("name", sorted(set(CRITERIA) - {"random"}))
def test_sorting_the_channels_sorts_the_scores(topology: str, name: str) -> None:
    evidence, rng = evidence_of(topology), np.random.default_rng(5)
    draw = {group.id: rng.random(group.size) for group in evidence.groups.groups}
    scores = score(name, evidence)
    shuffled = score(name, with_network(evidence, sort_groups(evidence.network, evidence.groups, draw)))
    for group, order in draw.items():
        np.testing.assert_allclose(shuffled[group], scores[group][np.argsort(-order)], rtol=1e-3, atol=1e-4)


@every_topology
@every_criterion
def test_every_network_can_be_cut_to_half_by_it(topology: str, name: str) -> None:
    evidence = evidence_of(topology)
    keep = {group.id: group.size // 2 for group in evidence.groups.groups}
    ordered = sort_groups(evidence.network, evidence.groups, score(name, evidence))
    small = cut(ordered, evidence.groups, keep)
    (output,) = run(small, {"input": torch.from_numpy(samples(MAKERS[topology][1], 3))}, fixed_values(small)).values()
    assert small.params < evidence.network.params
    assert torch.isfinite(output).all()


@every_criterion
@pytest.mark.parametrize("topology", ["resnet-a", "mobilenet", "mixed"])
def test_dead_channels_and_layers_give_no_nan(topology: str, name: str) -> None:
    evidence = evidence_of(topology)
    network = evidence.network
    first, second = list(network.weights)[:2]
    half = network.weights[first].copy()
    half[::2] = 0
    dead = network.with_values(weights={**network.weights, first: half, second: network.weights[second] * 0})
    for changed in (dead, network.with_values(tables={n: Table(t.scale * 0, t.shift) for n, t in network.tables.items()})):
        assert all(np.isfinite(value).all() for value in score(name, with_network(evidence, changed)).values())


@every_criterion
def test_constant_inputs_give_no_nan(name: str) -> None:
    evidence = evidence_of("vgg")
    assert evidence.inputs is not None
    for inputs in (np.zeros_like(evidence.inputs), np.zeros_like(evidence.inputs[:1])):
        assert all(np.isfinite(value).all() for value in score(name, replace(evidence, inputs=inputs)).values())


@pytest.mark.parametrize("name", GRADIENTS)
@every_topology
def test_a_channel_that_nothing_reads_is_worth_nothing(topology: str, name: str) -> None:
    evidence = evidence_of(topology)
    for group in evidence.groups.groups:
        changed = with_network(evidence, without_outgoing(evidence.network, group, 1))
        found = score(name, changed)[group.id]
        assert found[1] < 1e-6
        assert np.count_nonzero(found > 1e-6) > group.size // 3
        assert score("magnitude-l2", changed)[group.id][1] > 0.3


@pytest.mark.parametrize("name", NEEDS_INPUTS)
def test_a_criterion_that_needs_inputs_says_so(name: str) -> None:
    evidence = evidence_of("mlp")
    assert evidence.inputs is not None
    for inputs in (None, evidence.inputs[:0]):
        with pytest.raises(SecateurError, match=f"criterion {name}: needs calibration inputs") as caught:
            score(name, replace(evidence, inputs=inputs))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(DATA_FREE))
def test_other_criteria_do_without_inputs(name: str) -> None:
    evidence = replace(evidence_of("resnet-b"), inputs=None)
    assert all(value.mean() == pytest.approx(1) for value in score(name, evidence).values())


@pytest.mark.parametrize("name", sorted(set(NEEDS_INPUTS) - {"apoz"}))  # apoz: NaN is just not zero
def test_inputs_that_are_not_numbers_are_refused_in_one_line(name: str) -> None:
    evidence = evidence_of("mlp")
    inputs = np.full_like(evidence.inputs, np.nan)
    with pytest.raises(SecateurError, match=f"criterion {name}: channels of .* score NaN") as caught:
        score(name, replace(evidence, inputs=inputs))
    assert "\n" not in str(caught.value)


def test_a_function_registers_itself_and_its_first_line_is_its_help() -> None:
    @criterion("by-index")
    def by_index(evidence: Evidence) -> dict[str, np.ndarray]:
        """Later channels are worth more.

        Nothing else.
        """
        return {group.id: np.arange(group.size) for group in evidence.groups.groups}

    try:
        assert descriptions()["by-index"] == "Later channels are worth more."
        found = score("by-index", evidence_of("mlp"))["g0"]
        np.testing.assert_allclose(found, np.arange(24) / np.arange(24).mean())
    finally:
        del CRITERIA["by-index"]


@pytest.mark.parametrize("scale", [1e-310, 1e-30, 1.0, 1e306])
def test_scores_of_any_magnitude_are_brought_to_mean_one(scale: float) -> None:
    np.testing.assert_allclose(normalised(scale * np.arange(101)), np.arange(101) / 50, rtol=1e-5)


def test_every_criterion_has_one_line_of_help() -> None:
    assert set(descriptions()) == set(CRITERIA)
    assert all(20 < len(line) < 110 and line.endswith(".") for line in descriptions().values())


def test_no_two_criteria_agree_on_all_orders() -> None:
    evidence = evidence_of("resnet-b", 64)
    orders = {}
    for name in CRITERIA:
        orders[name] = tuple(tuple(np.argsort(-value)) for value in score(name, evidence).values())
    assert len(set(orders.values())) == len(orders)
