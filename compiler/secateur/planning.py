"""From what cutting costs to the rungs of each profile: the path, the plans, and the search that refines them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from secateur.compilation import CompileSettings, Progress, Tried
from secateur.dropping import block_losses
from secateur.ir import Budget, Groups, Network, Samples, single
from secateur.ir.groups import Keep, keep_key
from secateur.probing import Probe
from secateur.search import (
    TRIALS,
    Costs,
    Estimator,
    Plan,
    Step,
    Trials,
    measured_losses,
    plan_ladder,
    price,
    shrink_path,
    trials_file,
)
from secateur.search.evolution import evolve, front
from secateur.search.exchange import exchange
from secateur.search.path import widths
from secateur.search.planner import plan_rung, violations

Rungs = list[dict[str, int]]
"""Keep-counts of rungs, nested, the full network first."""
Allowed = Callable[[int, Keep], bool]
"""Whether keep-counts may stand for a rung, by its number."""


@dataclass
class Planned:
    """What was planned: the common path, for each profile the path with its latencies and its rungs, and what was tried."""

    path: list[Step]
    paths: dict[str, list[Step]]
    plans: dict[str, list[Plan]]
    tried: list[Tried] = field(default_factory=list)


def plan(
    network: Network,
    groups: Groups,
    targets: Sequence[Estimator],
    costs: Costs,
    calibration: Samples,
    settings: CompileSettings,
    folder: Path,
    progress: Progress,
) -> Planned:
    """Plan the rungs of all profiles.

    Args:
        network: the full network, sorted.
        groups: its channel groups.
        targets: what each profile is planned with.
        costs: of the network.
        calibration: inputs that networks are compared on.
        settings: budgets, how many rungs, how long to search.
        folder: where what was tried is kept until the compilation is complete, so that an interrupted one goes on.
        progress: told how far it is.

    Raises:
        InfeasibleError: if no network meets the budgets.
    """
    # One path for all profiles: so their rungs coincide where budgets allow, and are tuned once.
    whole = [target.latency_ms(costs, groups.full()) for target in targets]
    common = partial(_share_of_full, targets, costs, whole)
    trials = Trials(Probe(network, groups, calibration).distance, trials_file(folder, network, calibration))
    losses = measured_losses(groups, trials.distance, lambda done, count: progress("search", done, count))
    if settings.drop_blocks:
        losses |= block_losses(
            network, groups, settings.block_criterion, single(calibration, "--drop-blocks"), trials.distance
        )
    grid = math.lcm(*(target.profile.grid.channels for target in targets))
    path = shrink_path(groups, losses, common, grid)
    options = widths(groups, losses, grid)

    def walk(rungs: Rungs) -> list[Step]:
        return shrink_path(groups, losses, common, grid, through=rungs[1:])

    def exchanged(rungs: Rungs, allowed: Allowed) -> Rungs:
        return exchange(rungs, options, losses, common, costs.params, allowed)

    def evolved(rungs: Rungs, allowed: Allowed) -> Rungs:
        before = trials.seconds

        def go_on() -> bool:
            spent = trials.seconds - before
            progress("refine", min(round(spent), round(settings.search_seconds)), max(1, round(settings.search_seconds)))
            return spent < settings.search_seconds

        return evolve(rungs, options, common, trials.distance, allowed, go_on, settings.seed)

    planned = _plans(path, targets, costs, settings, common)
    for improve in [exchanged, evolved] if settings.search_seconds > 0 else [exchanged]:
        planned = _improved(planned, targets, costs, settings.budget, improve, walk)
    rungs = {keep_key(plan.keep) for plans in planned.plans.values() for plan in plans}
    asked = trials.asked
    points = [(common(trial.keep), trial.distance) for trial in asked]
    best = set(front(points))
    planned.tried = [
        Tried(share, distance, index in best, keep_key(trial.keep) in rungs)
        for index, (trial, (share, distance)) in enumerate(zip(asked, points))
    ]
    return planned


def forget_trials(folder: Path) -> None:
    """Remove what `plan` kept there for the case of an interruption."""
    for file in folder.glob(TRIALS):
        file.unlink(missing_ok=True)


def _plans(
    path: list[Step], targets: Sequence[Estimator], costs: Costs, settings: CompileSettings, common: Callable[[Keep], float]
) -> Planned:
    paths = {t.profile.name: price(path, partial(t.latency_ms, costs)) for t in targets}
    plans = {
        t.profile.name: plan_ladder(paths[t.profile.name], costs, t, settings.budget, settings.rungs, common)
        for t in targets
    }
    return Planned(path, paths, plans)


def _improved(
    planned: Planned,
    targets: Sequence[Estimator],
    costs: Costs,
    budget: Budget,
    improve: Callable[[Rungs, Allowed], Rungs],
    walk: Callable[[Rungs], list[Step]],
) -> Planned:
    """Replace planned rungs by better ones that cost no more on any profile, and the path by one that passes them."""
    unique = {keep_key(plan.keep): dict(plan.keep) for plans in planned.plans.values() for plan in plans}
    # All lie on one path, so their order by size is that of nesting.
    rungs = sorted(unique.values(), key=lambda keep: -sum(keep.values()))
    limits = [_limits(planned.plans[t.profile.name], t, costs, budget) for t in targets]
    found = improve(rungs, lambda number, keep: all(limit(rungs[number], keep) for limit in limits))
    better = {keep_key(old): new for old, new in zip(rungs, found)}
    path = walk(found)
    paths = {t.profile.name: price(path, partial(t.latency_ms, costs)) for t in targets}
    plans = {
        t.profile.name: [
            plan_rung(Step(keep, t.latency_ms(costs, keep)), costs, t)
            for keep in (better[keep_key(plan.keep)] for plan in planned.plans[t.profile.name])
        ]
        for t in targets
    }
    return Planned(path, paths, plans)


def _limits(plans: Sequence[Plan], target: Estimator, costs: Costs, budget: Budget) -> Callable[[Keep, Keep], bool]:
    """Return whether one network may stand for a planned one: no slower, slower than the next rung, within the budgets."""
    floors = [plan.latency_ms for plan in plans[1:]] + [0.0]
    of = {keep_key(plan.keep): (floor, plan.latency_ms) for plan, floor in zip(plans, floors)}

    def allowed(old: Keep, new: Keep) -> bool:
        if keep_key(old) not in of:
            return True
        floor, most = of[keep_key(old)]
        latency = target.latency_ms(costs, new)
        if not floor < latency <= most * (1 + 1e-9):
            return False
        return not violations(plan_rung(Step(dict(new), latency), costs, target), budget)

    return allowed


def _share_of_full(targets: Sequence[Estimator], costs: Costs, whole: Sequence[float], keep: Keep) -> float:
    """Latency as a share of the full network's, the mean of all targets."""
    return sum(target.latency_ms(costs, keep) / full_ms for target, full_ms in zip(targets, whole)) / len(targets)
