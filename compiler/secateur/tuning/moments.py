"""Per channel: what it is on average, how it varies, and how it varies with what it should be."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Moments of channels, and of their goals if there are any, over parts of the samples (Chan, Golub, LeVeque, 1979).

    Attributes:
        mean: of each channel, float64, (channels,); ``goal``: of what it should be.
    """

    def __init__(self) -> None:
        self._count = 0
        self.mean = self.goal = self._square = self._product = torch.zeros(0, dtype=torch.float64)

    @property
    def variance(self) -> Tensor:
        """Of each channel, float64."""
        return self._square / self._count

    @property
    def covariance(self) -> Tensor:
        """Of each channel with its goal, float64."""
        return self._product / self._count

    def add(self, x: Tensor, axis: int, wanted: Tensor | None = None) -> None:
        """Add a part of the samples.

        Args:
            x: channels along ``axis``.
            axis: not the first.
            wanted: what they should be, of the same shape.
        """
        found = Moments()
        # As `torch.var_mean` has it, which takes six times as long.
        rows = x.movedim(axis, 1).reshape(len(x), x.shape[axis], -1)
        found._count = rows.shape[0] * rows.shape[2]
        mean = rows.mean((0, 2), keepdim=True)
        rows = rows - mean
        found.mean = mean.flatten().double()
        found._square = torch.linalg.vector_norm(rows, dim=2).double().square().sum(0)
        found.goal = found._product = torch.zeros_like(found.mean)
        if wanted is not None:
            goals = wanted.movedim(axis, 1).reshape(rows.shape)
            goal = goals.mean((0, 2), keepdim=True)
            found.goal = goal.flatten().double()
            found._product = (rows * (goals - goal)).sum(2).double().sum(0)
        self.merge(found)

    def merge(self, other: Moments) -> None:
        """Add what was found of other samples."""
        if not self._count:
            self.__dict__.update(other.__dict__)
            return
        total = self._count + other._count
        apart, goal_apart = other.mean - self.mean, other.goal - self.goal
        both, share = self._count * other._count / total, other._count / total
        self._square = self._square + other._square + both * apart**2
        self._product = self._product + other._product + both * apart * goal_apart
        self.mean, self.goal = self.mean + share * apart, self.goal + share * goal_apart
        self._count = total
