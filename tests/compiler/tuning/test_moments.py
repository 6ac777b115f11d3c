"""Moments of parts are those of the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateur.tuning.moments import Moments


@given(
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    offset=st.floats(-100, 100),
    spread=st.floats(0.1, 10),
    axis=st.sampled_from([1, 2]),
)
def test_parts_give_the_moments_of_the_whole(cuts: list[int], offset: float, spread: float, axis: int) -> None:
    x = (offset + spread * torch.randn(sum(cuts), 4, 5, generator=torch.Generator().manual_seed(1))).float()
    wanted = x.roll(1, 0) * 0.5 + 3
    moments = Moments()
    for part, goal in zip(x.split(cuts), wanted.split(cuts)):
        moments.add(part, axis, goal)
    others = [other for other in range(3) if other != axis]
    variance, mean = torch.var_mean(x.double(), others, correction=0)
    goal = wanted.double().mean(others)
    centred = x.double() - x.double().mean(others, keepdim=True)
    covariance = (centred * (wanted.double() - wanted.double().mean(others, keepdim=True))).mean(others)
    assert torch.allclose(moments.mean, mean, rtol=1e-5, atol=1e-5)
    assert torch.allclose(moments.goal, goal, rtol=1e-5, atol=1e-5)
    assert torch.allclose(moments.variance, variance, rtol=1e-4, atol=1e-5)
    assert torch.allclose(moments.covariance, covariance, rtol=1e-3, atol=1e-3 * spread**2)


def test_a_large_mean_does_not_drown_a_small_deviation() -> None:
    x = 30 + 0.01 * torch.randn(64, 3, 8, generator=torch.Generator().manual_seed(2))
    moments = Moments()
    for part in x.split(16):
        moments.add(part, 1)
    assert moments.variance == pytest.approx(x.double().var((0, 2), correction=0), rel=1e-3)
