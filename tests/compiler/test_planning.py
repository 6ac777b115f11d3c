"""Rungs are planned on one path; a search refines them, and an interrupted one goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.compiler.networks import board, network_of, samples

from secateur.compilation import CompileSettings
from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Budget, Groups, Network
from secateur.planning import Planned, forget_trials, plan
from secateur.probing import Probe
from secateur.pruning import sort_groups
from secateur.search import Costs, Roofline, Trials
from secateur.search.planner import violations

SETTINGS = CompileSettings(rungs=4, search_seconds=1e9)


def inputs() -> NDArray[np.float32]:
    return samples((3, 16, 16), 32)


@pytest.fixture(scope="module")
def sorted_network() -> tuple[Network, Groups]:
    network = network_of("mobilenet")
    groups = find_groups(network)
    return sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups))), groups


def planned(found: tuple[Network, Groups], folder: Path, settings: CompileSettings, trials: int = 10**9) -> Planned:
    """Plan, and pull the plug after so many reports of progress of the refinement."""
    network, groups = found
    seen = 0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal seen
        del done, total
        seen += stage == "refine"
        if seen > trials:
            raise KeyboardInterrupt

    target = Roofline(board(), "fp32")
    return plan(network, groups, [target], Costs(network, groups), inputs(), settings, folder, progress)


def limited(
    found: tuple[Network, Groups], folder: Path, monkeypatch: pytest.MonkeyPatch, settings: CompileSettings
) -> Planned:
    """Plan with a clock by which every trial takes a second, so that the result does not depend on the machine."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("secateur.planning.Trials", partial(Trials, clock=lambda: float(next(ticks))))
    return planned(found, folder, settings)


def test_refined_rungs_are_nearer_to_the_full_network_no_slower_and_nested(
    sorted_network: tuple[Network, Groups], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = planned(sorted_network, tmp_path, replace(SETTINGS, search_seconds=0))
    after = limited(sorted_network, tmp_path, monkeypatch, replace(SETTINGS, search_seconds=60))
    (old,), (new,) = before.plans.values(), after.plans.values()
    assert len(new) == len(old)
    distance = Probe(*sorted_network, inputs()).distance
    assert all(b.latency_ms <= a.latency_ms * (1 + 1e-9) for a, b in zip(old, new))
    assert sum(distance(b.keep) for b in new) < 0.99 * sum(distance(a.keep) for a in old)
    for larger, smaller in pairwise(new):
        assert smaller.latency_ms < larger.latency_ms
        assert all(smaller.keep[key] <= count for key, count in larger.keep.items())
    # Later cuts are made on the path, so the rungs must lie on it.
    keeps = [step.keep for step in after.path]
    assert all(rung.keep in keeps for rung in new)
    assert sum(tried.rung for tried in after.tried) == len(new) - 1
    assert any(tried.on_front for tried in after.tried)


def test_refined_rungs_meet_the_budgets(
    sorted_network: tuple[Network, Groups], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = planned(sorted_network, tmp_path, replace(SETTINGS, search_seconds=0)).plans[board().name][0]
    budget = Budget(
        latency_ms=0.7 * whole.latency_ms,
        memory_mb=whole.memory_mb,
        energy_mj=0.7 * whole.energy_mj,
        size_kb=0.6 * whole.size_kb,
    )
    found = limited(sorted_network, tmp_path, monkeypatch, replace(SETTINGS, search_seconds=30, budget=budget))
    (rungs,) = found.plans.values()
    assert len(rungs) > 1
    assert not any(violations(rung, budget) for rung in rungs[1:])


def test_an_interrupted_search_goes_on_where_it_was(sorted_network: tuple[Network, Groups], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        planned(sorted_network, tmp_path, SETTINGS, trials=20)
    (file,) = tmp_path.glob(".search-*.jsonl")
    lines = file.read_bytes().splitlines()
    with pytest.raises(KeyboardInterrupt):
        planned(sorted_network, tmp_path, SETTINGS, trials=25)
    after = file.read_bytes().splitlines()
    assert after[: len(lines)] == lines
    assert 0 < len(after) - len(lines) <= 6
    forget_trials(tmp_path)
    assert not list(tmp_path.iterdir())
