"""The largest rung stays as good as the original."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler import digits

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Network
from secateur.master import Master, untuned_master
from secateur.protection import explain, protect_largest
from secateur.pruning import sort_groups
from secateur.tuning import measure_statistics


@pytest.fixture(scope="module")
def untuned() -> Master:
    network = digits.network()
    groups = find_groups(network)
    scores = score("magnitude-l2", Evidence(network, groups))
    return untuned_master(sort_groups(network, groups, scores), groups, scores, digits.task())


def spoiled(untuned: Master, noise: float) -> Master:
    """What a bad tuning leaves: noise in the weights, and statistics of its own for two networks."""
    random = np.random.default_rng(0)
    weights = {
        name: (weight + noise * weight.std() * random.standard_normal(weight.shape)).astype(np.float32)
        for name, weight in untuned.network.weights.items()
    }
    network = untuned.network.with_values(weights=weights)
    full = untuned.groups.full()
    half = {group: size // 2 for group, size in full.items()}
    goals = {**untuned.goals[0][1], **measure_statistics(network, untuned.calibration)}
    cut = {
        n: type(g)(*(v[untuned.groups.kept((f"table:{n}", 0), len(v), half)] for v in (g.mean, g.deviation)))
        for n, g in goals.items()
    }
    return Master(network, untuned.groups, untuned.scores, [(full, goals), (half, cut)], untuned.calibration)


def distance_metric(untuned: Master, scale: float):  # type: ignore[no-untyped-def]
    """A metric that falls with the distance of the shared weights from the original's."""

    def metric(network: Network) -> float:
        pairs = [(network.weights[name], weight) for name, weight in untuned.network.weights.items()]
        return 1 - scale * float(np.mean([np.abs(a - b).mean() / b.std() for a, b in pairs]))

    return metric


def test_a_tuning_that_does_no_harm_is_taken_whole(untuned: Master) -> None:
    tuned = spoiled(untuned, 0.5)
    assert protect_largest(untuned, tuned, lambda network: 0.9) == (tuned, 1.0)


def test_a_tuning_that_harms_the_largest_rung_is_taken_as_far_as_it_does_not(untuned: Master) -> None:
    tuned = spoiled(untuned, 1.0)
    metric = distance_metric(untuned, 0.01)
    protected, share = protect_largest(untuned, tuned, metric, allowed=0.005)
    assert 0 < share < 1
    full = untuned.groups.full()
    assert metric(protected.rung_network(full)) >= metric(untuned.network) - 0.005
    for name, weight in untuned.network.weights.items():
        expected = weight + share * (tuned.network.weights[name] - weight)
        np.testing.assert_allclose(protected.network.weights[name], expected, rtol=1e-5, atol=1e-6)
    assert [keep for keep, _ in protected.goals] == [keep for keep, _ in tuned.goals]


def test_where_every_step_harms_the_original_stays_itself(untuned: Master) -> None:
    protected, share = protect_largest(untuned, spoiled(untuned, 1.0), distance_metric(untuned, 100.0))
    assert share == 0
    original = protected.rung_network(untuned.groups.full())
    for name, weight in untuned.network.weights.items():
        np.testing.assert_array_equal(original.weights[name], weight)
    for name, table in untuned.network.tables.items():
        np.testing.assert_array_equal(original.tables[name].scale, table.scale)
    assert protected.rung_network({g: s // 2 for g, s in untuned.groups.full().items()}).params < original.params


def test_whoever_loses_tuning_is_told_why_and_what_to_do() -> None:
    assert explain(1.0, 0.002) == []
    (line,) = explain(0.25, 0.002)
    assert "taken to 25% of its way" in line
    assert "more than 0.2 points" in line
    assert "--largest-may-lose" in line
