"""Group magnitude counts what makes a channel and what reads it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import TOPOLOGIES, network_of

from secateur.criteria import Evidence, score
from secateur.graph import find_groups


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_channel_has_a_finite_score_without_data(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    scores = score("group-l2", Evidence(network, groups))
    assert {key: value.shape for key, value in scores.items()} == {g.id: (g.size,) for g in groups.groups}
    assert all(np.isfinite(value).all() and (value >= 0).all() for value in scores.values())


def test_score_is_the_norm_of_filters_and_readers_together() -> None:
    network = network_of("mlp")
    made, read = (network.weights[name].astype(np.float64) for name in ("w0", "w1"))
    norms = np.sqrt((made**2).sum(1) + (read**2).sum(0))
    found = score("group-l2", Evidence(network, find_groups(network)))["g0"]
    np.testing.assert_allclose(found, norms / norms.mean(), rtol=1e-6)


def test_a_small_filter_that_is_read_loudly_is_worth_more_than_a_large_one_that_is_not() -> None:
    network = network_of("mlp")
    made, read = network.weights["w0"].copy(), network.weights["w1"].copy()
    made[0], read[:, 0], made[1], read[:, 1] = made[2] * 0.1, 3.0, made[2] * 2, 0.0
    scored = network.with_values(weights={**network.weights, "w0": made, "w1": read})
    evidence = Evidence(scored, find_groups(scored))
    by_group, by_filter = score("group-l2", evidence)["g0"], score("magnitude-l2", evidence)["g0"]
    assert by_group[0] > by_group[1]
    assert by_filter[0] < by_filter[1]
