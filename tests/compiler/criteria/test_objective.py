"""What is differentiated: the task's loss if there is one, else the network's own labels, whose gradient is not zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.compiler.evidence import evidence_of
from torch import Tensor

from secateur.criteria import score
from secateur.criteria.objective import objective, own_labels


def gradients(logits: Tensor, draws: int, seed: int = 0, probabilities: bool = False) -> Tensor:
    """Return the gradients at the logits of so many draws, (draws, samples, classes)."""
    evidence, found = replace(evidence_of("mlp"), seed=seed), []
    for draw in range(draws):
        leaf = logits.clone().requires_grad_()
        output = leaf.softmax(1) if probabilities else leaf
        own_labels(evidence, draw)({"output": output}, slice(0, len(logits))).backward()
        assert leaf.grad is not None
        found.append(leaf.grad)
    return torch.stack(found)


@pytest.mark.parametrize("probabilities", [False, True])
def test_the_mean_square_of_own_labels_is_the_fisher_information(probabilities: bool) -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.1, 0.0, 0.3]], dtype=torch.float64)
    found = gradients(logits, 4000, probabilities=probabilities)
    p = logits.softmax(1)
    for sample in range(2):
        wanted = torch.diag(p[sample]) - torch.outer(p[sample], p[sample])
        got = found[:, sample].T @ found[:, sample] / len(found)
        torch.testing.assert_close(got, wanted, rtol=0.1, atol=0.01)


def test_a_confident_network_still_has_gradients() -> None:
    found = gradients(torch.tensor([[60.0, 0.0, -5.0]]), 8)
    assert (found.abs().amax((1, 2)) > 0).all()
    assert torch.isfinite(found).all()


def test_draws_and_seeds_differ_and_repeat() -> None:
    logits = torch.randn((5, 4), generator=torch.Generator().manual_seed(0))
    first = gradients(logits, 2)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, gradients(logits, 2))
    assert not torch.equal(first, gradients(logits, 2, seed=1))


def test_other_outputs_are_projected_whatever_their_magnitude() -> None:
    evidence, grads = evidence_of("mlp"), []
    for scale in (1.0, 1e4):
        leaf = torch.randn((6, 3, 4), generator=torch.Generator().manual_seed(1)).requires_grad_()
        own_labels(evidence)({"output": leaf * scale}, slice(0, 6)).backward()
        assert leaf.grad is not None
        grads.append(leaf.grad)
    torch.testing.assert_close(grads[0], grads[1])
    assert (grads[0] != 0).all()


def test_a_constant_output_gives_a_number() -> None:
    assert torch.isfinite(own_labels(evidence_of("mlp"))({"output": torch.ones((3, 1))}, slice(0, 3)))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_tasks_loss_is_summed_over_samples_whatever_its_own_reduction(reduction: str) -> None:
    outputs, targets = torch.randn((7, 3)), np.arange(7) % 3
    evidence = replace(evidence_of("mlp"), targets=targets, loss=lambda o, t: F.cross_entropy(o, t, reduction=reduction))
    wanted = F.cross_entropy(outputs[:3], torch.from_numpy(targets[4:7]), reduction="sum")
    got = objective(evidence)({"output": outputs[:3]}, slice(4, 7))
    assert float(got) == pytest.approx(float(wanted), rel=1e-5)


def test_class_labels_without_a_loss_are_used() -> None:
    outputs, targets = torch.randn((7, 3)), np.arange(7) % 3
    got = objective(replace(evidence_of("mlp"), targets=targets))({"output": outputs}, slice(0, 7))
    assert float(got) == pytest.approx(float(F.cross_entropy(outputs, torch.from_numpy(targets), reduction="sum")), rel=1e-5)


@pytest.mark.parametrize("targets", [np.linspace(0, 1, 7), np.arange(7) + 90, np.zeros((7, 2), np.int64)])
def test_other_targets_without_a_loss_are_not_guessed_at(targets: np.ndarray) -> None:
    outputs, evidence = torch.randn((7, 3)), evidence_of("mlp")
    got = objective(replace(evidence, targets=targets))({"output": outputs}, slice(0, 7))
    assert float(got) == float(own_labels(evidence)({"output": outputs}, slice(0, 7)))


def test_labels_change_what_taylor_finds_and_not_what_fisher_finds() -> None:
    evidence = evidence_of("mlp", 40)
    labelled = replace(evidence, targets=np.arange(40) % 3)
    assert not np.allclose(score("taylor", evidence)["g0"], score("taylor", labelled)["g0"], rtol=0.01)
    np.testing.assert_array_equal(score("fisher", evidence)["g0"], score("fisher", labelled)["g0"])
