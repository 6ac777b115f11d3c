"""Criteria for single weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.compiler import digits

from secateur.ir import Network, SecateurError
from secateur.load import Task
from secateur.pruning.weights import WEIGHT_CRITERIA, WeightEvidence, score_weights, sparsify
from secateur.twin import fixed_values, run


def evidence(labels: bool = True, network: Network | None = None) -> WeightEvidence:
    task: Task = digits.task()
    targets = task.targets("calibration") if labels else None
    loss = F.cross_entropy if labels else None
    return WeightEvidence(network or digits.network(), task.inputs("calibration"), targets, loss)


def outputs(network: Network) -> torch.Tensor:
    with torch.no_grad():
        x = torch.from_numpy(digits.task().inputs("validation"))
        return next(iter(run(network, {"input": x}, fixed_values(network)).values()))


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("name", sorted(WEIGHT_CRITERIA))
def test_scores_have_the_shapes_of_weights_and_say_something(name: str, labels: bool) -> None:
    found = score_weights(name, evidence(labels))
    for key, weight in digits.network().weights.items():
        assert found[key].shape == weight.shape
        assert np.isfinite(found[key]).all()
        assert (found[key] >= 0).all()
        assert found[key].std() > 0


@pytest.mark.parametrize("labels", [True, False])
def test_taylor_sees_that_a_weight_whose_input_is_always_zero_does_not_matter_and_magnitude_does_not(labels: bool) -> None:
    network = digits.network()
    first, second = _convolutions(network)
    weights = {name: weight.copy() for name, weight in network.weights.items()}
    weights[first][3] = 0
    tables = dict(network.tables)
    affine = next(n for n in network.nodes if n.op == "Affine")
    table = tables[affine.attrs["table"]]
    shift = table.shift.copy()
    shift[3] = -1  # behind the ReLU the channel is zero
    tables[affine.attrs["table"]] = type(table)(table.scale, shift)
    weights[second][:, 3] = 9
    dead = network.with_values(weights, tables)
    taylor = score_weights("taylor", evidence(labels, dead))[second]
    assert taylor[:, 3].max() == 0
    assert taylor[:, 4].max() > 0
    assert score_weights("magnitude", evidence(labels, dead))[second][:, 3].min() == 9


def _convolutions(network: Network) -> tuple[str, str]:
    first, second, *_ = [node.attrs["weight"] for node in network.nodes if node.op == "Conv"]
    return first, second


@pytest.mark.parametrize("labels", [True, False])
def test_taylor_moves_the_outputs_less_than_pruning_the_best(labels: bool) -> None:
    network, scores = digits.network(), score_weights("taylor", evidence(labels))
    worst = sparsify(network.weights, scores, "ratio", 0.3)
    best = sparsify(network.weights, {name: -value for name, value in scores.items()}, "ratio", 0.3)
    moved = [float((outputs(network.with_values(each)) - outputs(network)).square().mean()) for each in (worst, best)]
    assert moved[0] < 0.1 * moved[1]


def test_taylor_without_data_is_one_line() -> None:
    with pytest.raises(SecateurError, match="needs calibration data"):
        score_weights("taylor", WeightEvidence(digits.network()))
