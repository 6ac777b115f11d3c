"""Taylor: the first-order change of the loss, squared per sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from tests.compiler.evidence import evidence_of
from tests.compiler.networks import module_of
from torch import nn

from secateur.criteria import score


def test_score_is_the_root_of_the_mean_squared_gradient_times_activation() -> None:
    evidence = replace(evidence_of("mlp", 20), targets=np.arange(20) % 3)
    module = module_of("mlp")
    assert isinstance(module, nn.Sequential)
    squares = np.zeros(24)
    for x, y in zip(torch.from_numpy(evidence.inputs), torch.arange(20) % 3):
        hidden = module[:3](x[None]).detach().requires_grad_()
        F.cross_entropy(module[3:](hidden), y[None]).backward()
        assert hidden.grad is not None
        squares += ((hidden * hidden.grad)[0].detach().double().numpy()) ** 2
    wanted = np.sqrt(squares)
    np.testing.assert_allclose(score("taylor", evidence)["g0"], wanted / wanted.mean(), rtol=1e-3, atol=1e-5)


def test_positions_are_added_before_they_are_squared_flattened_or_not() -> None:
    evidence = replace(evidence_of("vgg", 12), targets=np.arange(12) % 10)
    module = module_of("vgg")
    squares = {"g0": np.zeros(8), "g1": np.zeros(12)}
    for x, y in zip(torch.from_numpy(evidence.inputs), torch.arange(12) % 10):
        first = F.max_pool2d(F.relu(module.conv1(x[None])), 2).detach().requires_grad_()
        second = F.max_pool2d(F.relu(module.bn(module.conv2(first))), 2)
        second.retain_grad()  # read after it was flattened: a channel is four elements there
        F.cross_entropy(module.fc2(F.relu(module.fc1(second.flatten(1)))), y[None]).backward()
        for group, value in (("g0", first), ("g1", second)):
            assert value.grad is not None
            squares[group] += (value * value.grad).sum((0, 2, 3)).detach().double().numpy() ** 2
    found = score("taylor", evidence)
    for group, total in squares.items():
        wanted = np.sqrt(total)
        np.testing.assert_allclose(found[group], wanted / wanted.mean(), rtol=1e-3, atol=1e-5)
