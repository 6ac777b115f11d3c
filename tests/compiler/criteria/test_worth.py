"""Criteria that look at data find what is worth keeping in a network whose channels differ in worth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.compiler import digits
from tests.compiler.networks import export_onnx
from torch import Tensor, nn

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Groups, Network
from secateur.load import load_onnx
from secateur.load.task import accuracy
from secateur.pruning import cut, sort_groups
from secateur.tuning import Statistics, measure_statistics, recalibrate
from secateur.twin import fixed_values, run

SEEDS = (0, 1)


class _NestedDropout:
    """Drops, of each sample, the last channels of a hidden order: the earlier ones must carry the function.

    Rippel, Gelbart, Adams: Learning Ordered Representations with Nested Dropout, ICML 2014.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._order: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        width = output.shape[1]
        if self._order is None:
            self._order = torch.from_numpy(self._rng.permutation(width))
        kept = torch.from_numpy(self._rng.integers(width // 4, width + 1, len(output)))
        return output * (self._order[None] < kept[:, None]).to(output.dtype)[:, :, None, None]


@cache
def network(seed: int) -> Network:
    """Return a trained network."""
    torch.manual_seed(seed)
    module, rng = digits.Digits(), np.random.default_rng(seed)
    hooks = [layer.register_forward_hook(_NestedDropout(rng)) for layer in module.features if isinstance(layer, nn.ReLU)]
    x, y = torch.from_numpy(digits.arrays()[0]), torch.from_numpy(digits.arrays()[2])
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(6):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - 63, 64):
            chosen = order[start : start + 64]
            optimiser.zero_grad()
            F.cross_entropy(module(x[chosen]), y[chosen]).backward()
            optimiser.step()
    for hook in hooks:
        hook.remove()
    return load_onnx(export_onnx(module.eval(), digits.SHAPE, folded=False))


def goals_of(groups: Groups, full: dict[str, Statistics], keep: dict[str, int]) -> dict[str, Statistics]:
    found = {}
    for name, value in full.items():
        kept = groups.kept((f"table:{name}", 0), len(value.mean), keep)
        found[name] = Statistics(value.mean[kept], value.deviation[kept])
    return found


def accuracy_at_half(name: str, labels: bool, seed: int) -> float:
    """Keep half of every group, recalibrate, and return the accuracy on the test split, mean over networks."""
    found, task = [], digits.task()
    inputs, targets = task.inputs("calibration")[:200], task.targets("calibration")
    assert targets is not None
    for each in SEEDS:
        full = network(each)
        groups = find_groups(full)
        scores = score(name, Evidence(full, groups, inputs, targets[:200] if labels else None, None, seed))
        ordered, keep = sort_groups(full, groups, scores), {group.id: group.size // 2 for group in groups.groups}
        small = cut(ordered, groups, keep)
        goals = goals_of(groups, measure_statistics(ordered, inputs), keep)
        small = small.with_values(tables=recalibrate(small, goals, inputs))
        with torch.no_grad():
            (outputs,) = run(small, {"input": torch.from_numpy(task.inputs("test"))}, fixed_values(small)).values()
        found.append(accuracy(outputs.numpy(), task.targets("test")))
    return float(np.mean(found))


@cache
def accuracy_of_random() -> float:
    """Return the mean over seeds of what a random choice keeps."""
    return float(np.mean([accuracy_at_half("random", labels=False, seed=seed) for seed in range(6)]))


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("name", ["activation", "batch-norm-scale", "fisher", "lrp", "lrp-z-plus", "taylor"])
def test_looking_at_data_keeps_far_more_accuracy_than_chance(name: str, labels: bool) -> None:
    assert accuracy_at_half(name, labels, seed=0) > accuracy_of_random() + 0.2
