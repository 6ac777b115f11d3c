"""Losses measured group by group."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import network_of

from secateur.graph import find_groups
from secateur.ir.groups import Keep
from secateur.search.sensitivity import SHARES, measured_losses


def test_each_group_is_cut_by_itself_and_the_loss_never_falls_with_what_is_cut() -> None:
    groups = find_groups(network_of("mlp"))
    asked: list[dict[str, int]] = []

    def distance(keep: Keep) -> float:
        asked.append(dict(keep))
        return {"g0": 1.0, "g1": -2.0}[next(k for k, v in keep.items() if v < groups.full()[k])] * (40 - sum(keep.values()))

    losses = measured_losses(groups, distance)
    full = groups.full()
    assert all(sum(full[k] != v for k, v in keep.items()) == 1 for keep in asked)
    assert len(asked) == len(full) * len(SHARES)
    for group in groups.groups:
        values = losses[group.id]
        assert values.shape == (group.size + 1,)
        assert values[group.size] == 0
        assert (np.diff(values) <= 0).all()
    # What is measured stays: half of g0 lies 12 channels below the full 24.
    assert losses["g0"][12] == pytest.approx(12.0)
    assert losses["g0"][15] == pytest.approx(9.0)
    # A group whose cut brings the outputs nearer costs nothing, and gains nothing either.
    assert losses["g1"].max() == 0


def test_progress_is_told_by_group() -> None:
    groups = find_groups(network_of("mlp"))
    told: list[tuple[int, int]] = []
    measured_losses(groups, lambda keep: 0.0, lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
