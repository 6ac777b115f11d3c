"""One solution for several networks, and none where held-out samples know nothing better."""

from __future__ import annotations

import numpy as np
import torch

from secateur.tuning.equations import Equations, solve

INPUTS, OUTPUTS = 12, 5


def data(samples: int, weights: torch.Tensor, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, weights.shape[1], generator=generator)
    return x, x @ weights.T.float() + noise * torch.randn(samples, len(weights), generator=generator)


def equations(x: torch.Tensor, y: torch.Tensor, columns: int = INPUTS, rows: int = OUTPUTS, parts: int = 4) -> Equations:
    made = Equations(1.0, torch.arange(columns), np.arange(rows))
    for part, (a, b) in enumerate(zip(x.chunk(parts), y.chunk(parts))):
        made.add(part, a[:, :columns], b[:, :rows])
    return made


def weights(seed: int) -> torch.Tensor:
    return torch.randn(OUTPUTS, INPUTS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_what_the_samples_show_is_found() -> None:
    true, before = weights(1), weights(2)
    after = solve(before, [equations(*data(400, true, 0.0))])
    assert (after - true).abs().max() < 0.1 * (before - true).abs().max()


def test_weights_move_less_where_samples_are_noise_than_if_nothing_is_held_out() -> None:
    before, moved = weights(1), {1: 0.0, 4: 0.0}
    stayed = 0
    for seed in range(12):
        x, y = data(40, before, 20.0, seed)
        for parts in moved:
            after = solve(before, [equations(x, y, parts=parts)])
            moved[parts] += float((after - before).square().mean())
            stayed += parts > 1 and torch.equal(after, before)
    assert moved[4] < moved[1] / 2
    assert stayed >= 3


def test_a_channel_of_several_networks_serves_them_all() -> None:
    """The smaller network reads half of the inputs and keeps two of the channels; the others belong to the larger alone."""
    true = weights(1)
    x, y = data(400, true, 0.0)
    mixed = x.clone()
    mixed[:, : INPUTS // 2] += 0.7 * x[:, INPUTS // 2 :]  # what is cut can be told from what is kept
    whole, half = equations(mixed, y), equations(mixed, y, INPUTS // 2, 2)
    both, alone = solve(true, [whole, half]), solve(true, [whole])
    assert torch.allclose(both[2:], alone[2:])

    def error(found: torch.Tensor, columns: int) -> float:
        return float(((mixed[:, :columns].double() @ found[:2, :columns].T - y[:, :2].double()) ** 2).mean())

    assert error(both, INPUTS // 2) < error(alone, INPUTS // 2)
    assert error(both, INPUTS) > error(alone, INPUTS)
