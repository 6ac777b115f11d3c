"""Batch-norm scale recovers gamma from the normal form, where it is folded away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.compiler.evidence import evidence_of, with_network
from tests.compiler.networks import MAKERS, Smartwatch, export_onnx, samples, warmed

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Network
from secateur.load import load_onnx

SHAPE = MAKERS["smartwatch"][1]
TINY = 5


def planted(folded: bool) -> tuple[Network, np.ndarray]:
    """Return a network one of whose channels has a tiny gamma, and the gammas of that channel's group."""
    torch.manual_seed(0)
    module = warmed(Smartwatch(), SHAPE)
    assert isinstance(module, Smartwatch)
    with torch.no_grad():
        module.bn2.weight[TINY] = 1e-3
    return load_onnx(export_onnx(module, SHAPE, folded)), module.bn2.weight.detach().numpy()


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("inputs", [None, samples(SHAPE, 200)])
def test_a_channel_with_a_tiny_gamma_is_dropped_first(folded: bool, inputs: np.ndarray | None) -> None:
    network, _ = planted(folded)
    groups = find_groups(network)
    group = next(group for group in groups.groups if group.size == 32)
    found = score("batch-norm-scale", Evidence(network, groups, inputs))[group.id]
    assert found.argmin() == TINY
    assert found[TINY] < 0.01
    assert np.delete(found, TINY).min() > 0.2


@pytest.mark.parametrize("folded", [False, True])
def test_with_inputs_it_is_the_magnitude_of_gamma(folded: bool) -> None:
    network, gamma = planted(folded)
    groups = find_groups(network)
    group = next(group for group in groups.groups if group.size == 32)
    found = score("batch-norm-scale", Evidence(network, groups, samples(SHAPE, 400, seed=9)))[group.id]
    # The running statistics come from other random inputs, so the deviations agree but roughly.
    np.testing.assert_allclose(found, np.abs(gamma) / np.abs(gamma).mean(), rtol=0.25)


def test_without_inputs_it_is_scale_times_norm() -> None:
    evidence = replace(evidence_of("mlp"), inputs=None)
    network = evidence.network
    wanted = np.abs(network.tables["t0"].scale) * np.linalg.norm(network.weights["w0"], axis=1)
    np.testing.assert_allclose(score("batch-norm-scale", evidence)["g0"], wanted / wanted.mean(), rtol=1e-5)


def test_a_large_mean_does_not_hide_the_deviation() -> None:
    evidence = evidence_of("mlp", 200)
    network = evidence.network
    tables = {**network.tables, "t0": replace(network.tables["t0"], shift=network.tables["t0"].shift + 1e4)}
    found = score("batch-norm-scale", with_network(evidence, network.with_values(tables=tables)))["g0"]
    np.testing.assert_allclose(found, score("batch-norm-scale", evidence)["g0"], rtol=1e-2)
