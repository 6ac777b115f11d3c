"""Gives profiles of this machine the precision that measurement favours, where the user asked for none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from secateur.assembly import Judge
from secateur.compilation import CompileSettings, Progress
from secateur.ir import Groups, Network
from secateur.master import untuned_master
from secateur.precision_choice import Candidate, told, weigh_precisions
from secateur.search import Estimator, MeasuredTable
from secateur.targets import choose_targets, is_this_machine


def weigh_targets(
    targets: Sequence[Estimator],
    network: Network,
    groups: Groups,
    judge: Judge,
    settings: CompileSettings,
    notes: list[str],
    progress: Progress,
) -> tuple[list[Estimator], dict[str, list[Candidate]]]:
    """Time the network in every precision of each profile of this machine of which nothing was measured yet.

    Args:
        targets: what each profile is planned with, in its first precision.
        network: the original.
        groups: its channel groups.
        judge: validation data.
        settings: no precision may be asked for; what int8 may lose.
        notes: gets a line for each profile that was weighed.
        progress: told how far it is.

    Returns:
        What each profile is planned with, and profile → its candidates.
    """
    mine = [t.profile for t in targets if is_this_machine(t.profile) and not isinstance(t, MeasuredTable)]
    if settings.precisions or not mine:
        return list(targets), {}
    untuned, original = untuned_master(network, groups, {}, judge.task), judge.original["validation"]
    exact, metric = judge.task.metric(original, "validation", original), partial(judge.metric, split="validation")
    weighed, chosen = {}, {}
    for profile in mine:
        allowed, tell = settings.int8_may_lose / 100, partial(progress, "weigh")
        weighed[profile.name] = weigh_precisions(untuned, profile, judge.compared(), exact, metric, allowed, tell)
        notes.append(told(profile.name, weighed[profile.name]))
        precision = next(each.precision for each in weighed[profile.name] if each.chosen)
        (chosen[profile.name],) = choose_targets([profile], (precision,), (), settings.find_tables, notes)
    return [chosen.get(target.profile.name, target) for target in targets], weighed
