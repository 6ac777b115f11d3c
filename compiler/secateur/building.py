"""The ladders of all profiles: layers that stay float are chosen, rungs are built, and where they run here, timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from secateur.assembly import BuiltRung, Judge, Ladder, build_ladder, tensor_specs
from secateur.compilation import CompileSettings
from secateur.evaluation import measure_rung
from secateur.ir import Network
from secateur.master import Master
from secateur.mixed_precision import MixedPrecision, mix_precisions
from secateur.search import Costs, Estimator, Plan, Roofline
from secateur.search.path import Step
from secateur.search.planner import plan_rung
from secateur.targets import is_this_machine
from secateur.verifying import verify_latency
from secateur_agent.protocol.messages import RungMeasurement
from secateur_profiles import Profile


@dataclass(frozen=True)
class BuiltProfile:
    """What was built for one profile.

    Attributes:
        ladder: its rungs.
        master: that they are cut from, with the layers that stay float for this profile.
        mixed: how these were chosen; None if all may be int8.
        path: points that later cuts may take, with the latencies that follow from it.
    """

    ladder: Ladder
    master: Master
    mixed: MixedPrecision | None
    path: list[Step]


def build_profiles(
    master: Master,
    judge: Judge,
    targets: Sequence[Estimator],
    plans: Mapping[str, list[Plan]],
    paths: Mapping[str, list[Step]],
    costs: Costs,
    settings: CompileSettings,
    progress: Callable[[str, int, int], None],
) -> dict[str, BuiltProfile]:
    """Build the ladder of every profile.

    Args:
        master: tuned.
        judge: validation data.
        targets: what each profile is planned with.
        plans: profile → planned rungs.
        paths: profile → all points that rungs may be moved to.
        costs: of the network.
        settings: budgets, what int8 may lose, whether rungs are measured here.
        progress: told how far it is.

    Raises:
        InfeasibleError: if for a profile no rung below the original may be shipped.
    """
    total, done = sum(len(found) for found in plans.values()), 0
    built: dict[str, BuiltProfile] = {}
    exact = judge.twin_metric(master.rung_network(master.groups.full()))
    for target in targets:
        profile, key = target.profile, target.profile.name
        mixed, how, largest = mix_precisions(
            master,
            profile,
            target.precision,
            judge.compared(),
            exact,
            partial(judge.metric, split="validation"),
            settings.int8_may_lose / 100,
            partial(progress, "mix"),
        )
        here = is_this_machine(profile) if settings.verify_latency is None else settings.verify_latency
        measure = partial(_measure, master.network, profile) if here else None
        steps, planned = list(paths[key]), list(plans[key])
        if mixed.floating and isinstance(target, Roofline):
            target = replace(target, floating=mixed.floating)
            steps = [replace(step, latency_ms=target.latency_ms(costs, step.keep)) for step in steps]
            planned = [plan_rung(Step(plan.keep, target.latency_ms(costs, plan.keep)), costs, target) for plan in planned]
        points = [plan_rung(step, costs, target) for step in steps]
        tick = partial(_offset, progress, done, total)
        ladder = build_ladder(mixed, judge, planned, points, target, settings.budget, tick, measure, largest)
        if here:
            ladder = verify_latency(ladder, target.precision, profile.runtime.threads, key)
        built[key] = BuiltProfile(ladder, mixed, how, steps)
        done += len(plans[key])
    return built


def told(built: Mapping[str, BuiltProfile]) -> list[str]:
    """Return what a user must know of it, one line each."""
    lines = []
    for key, each in built.items():
        lines += [each.mixed.told(key)] if each.mixed is not None else []
        lines += [f"{key}: {rung}: {why}" for rung, why in each.ladder.moved.items()]
    return lines


def _offset(progress: Callable[[str, int, int], None], done: int, total: int, number: int) -> None:
    progress("build", done + number, total)


def _measure(network: Network, profile: Profile, rung: BuiltRung) -> RungMeasurement:
    return measure_rung(rung.data, rung.entry, *tensor_specs(network), profile)
