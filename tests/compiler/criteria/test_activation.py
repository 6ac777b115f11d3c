"""Activation statistics are those of what weights read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.compiler.evidence import evidence_of, with_network
from tests.compiler.networks import module_of
from torch import nn

from secateur.criteria import score


def hidden(count: int = 24) -> np.ndarray:
    """Return what the second layer of the perceptron reads, (samples, 24)."""
    module, evidence = module_of("mlp"), evidence_of("mlp", count)
    assert isinstance(module, nn.Sequential)
    with torch.no_grad():
        return np.asarray(module[:3](torch.from_numpy(evidence.inputs)), np.float64)


def test_activation_is_the_mean_magnitude_behind_the_nonlinearity() -> None:
    wanted = np.abs(hidden()).mean(0)
    np.testing.assert_allclose(score("activation", evidence_of("mlp"))["g0"], wanted / wanted.mean(), rtol=1e-4)


def test_apoz_is_the_share_of_activations_that_are_not_zero() -> None:
    wanted = (hidden() != 0).mean(0)
    np.testing.assert_allclose(score("apoz", evidence_of("mlp"))["g0"], wanted / wanted.mean(), rtol=1e-6)


def test_a_channel_that_never_fires_is_worth_nothing() -> None:
    evidence = evidence_of("mlp")
    shift = evidence.network.tables["t0"].shift.copy()
    shift[4] = -1e3
    tables = {**evidence.network.tables, "t0": replace(evidence.network.tables["t0"], shift=shift)}
    changed = with_network(evidence, evidence.network.with_values(tables=tables))
    for name in ("activation", "apoz"):
        found = score(name, changed)["g0"]
        assert found[4] == 0
        assert np.count_nonzero(found) > 12


def test_batches_do_not_change_the_statistics() -> None:
    evidence = evidence_of("mlp", 130)  # two full batches and a rest
    assert evidence.inputs is not None
    again = replace(evidence, inputs=evidence.inputs[::-1].copy())
    np.testing.assert_allclose(score("activation", again)["g0"], score("activation", evidence)["g0"], rtol=1e-5)
