"""FPGM drops what others can replace, however large it is."""

from __future__ import annotations

import numpy as np
from tests.compiler.evidence import evidence_of, with_network

from secateur.criteria import score


def test_a_copied_filter_is_dropped_first_although_it_is_as_large_as_any() -> None:
    evidence = evidence_of("mlp")
    network = evidence.network
    # Orthonormal filters are all equally far from each other, so that only the copies stand out.
    weight = np.linalg.qr(network.weights["w1"].T)[0].T.copy()
    weight[7] = weight[3]
    changed = with_network(evidence, network.with_values(weights={**network.weights, "w1": weight}))
    assert set(np.argsort(score("fpgm", changed)["g1"])[:2]) == {3, 7}
    np.testing.assert_allclose(score("magnitude-l2", changed)["g1"], 1, rtol=1e-5)


def test_score_is_the_sum_of_distances() -> None:
    evidence = evidence_of("mlp")
    weight = evidence.network.weights["w0"].astype(np.float64)
    distances = np.linalg.norm(weight[:, None] - weight[None], axis=2).sum(1)
    np.testing.assert_allclose(score("fpgm", evidence)["g0"], distances / distances.mean(), rtol=1e-9)


def test_filters_at_the_median_are_worth_nothing_if_all_are_the_same() -> None:
    evidence = evidence_of("mlp")
    network = evidence.network
    same = np.repeat(network.weights["w0"][:1], 24, axis=0)
    found = score("fpgm", with_network(evidence, network.with_values(weights={**network.weights, "w0": same})))["g0"]
    np.testing.assert_array_equal(found, 0)


def test_each_layer_of_a_stream_counts_alike() -> None:
    evidence = evidence_of("resnet-b")
    network = evidence.network
    louder = network.with_values(weights={**network.weights, "w0": network.weights["w0"] * 1e3})
    np.testing.assert_allclose(score("fpgm", with_network(evidence, louder))["g0"], score("fpgm", evidence)["g0"], rtol=1e-5)
