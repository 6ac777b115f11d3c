"""Magnitude criteria score every channel of every group."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import TOPOLOGIES, network_of

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import SecateurError


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("criterion", ["magnitude-l1", "magnitude-l2"])
def test_every_channel_has_a_finite_score_without_data(name: str, criterion: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    scores = score(criterion, Evidence(network, groups))
    assert {key: value.shape for key, value in scores.items()} == {g.id: (g.size,) for g in groups.groups}
    assert all(np.isfinite(value).all() and (value >= 0).all() for value in scores.values())


@pytest.mark.parametrize(("criterion", "order"), [("magnitude-l1", 1), ("magnitude-l2", 2)])
def test_score_is_the_norm_of_the_filters(criterion: str, order: int) -> None:
    network = network_of("mlp")
    groups = find_groups(network)
    norms = np.linalg.norm(network.weights["w0"].astype(np.float64), order, axis=1)
    np.testing.assert_allclose(score(criterion, Evidence(network, groups))["g0"], norms / norms.mean(), rtol=1e-6)


def test_each_layer_of_a_stream_counts_alike() -> None:
    network = network_of("resnet-b")
    groups = find_groups(network)
    before = score("magnitude-l2", Evidence(network, groups))["g0"]
    louder = network.with_values(weights={**network.weights, "w0": network.weights["w0"] * 100})
    np.testing.assert_allclose(score("magnitude-l2", Evidence(louder, groups))["g0"], before, rtol=1e-5)


def test_a_dead_layer_gives_no_nan() -> None:
    network = network_of("mlp")
    dead = network.with_values(weights={**network.weights, "w0": network.weights["w0"] * 0})
    assert np.isfinite(score("magnitude-l2", Evidence(dead, find_groups(dead)))["g0"]).all()


def test_an_unknown_criterion_is_named_with_those_there_are() -> None:
    network = network_of("mlp")
    with pytest.raises(SecateurError, match=r"'taylor-9'.*magnitude-l1, magnitude-l2"):
        score("taylor-9", Evidence(network, find_groups(network)))
