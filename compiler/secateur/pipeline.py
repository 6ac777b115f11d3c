"""The order of the steps: `compile` makes bundles of a trained network, `recut` cuts one more rung later."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from secateur.assembly import BuiltRung, Judge, Ladder, build_ladder, build_rung, tensor_specs
from secateur.bundle.keys import Keys, load_or_create_keys
from secateur.bundle.pack import digest, pack
from secateur.compilation import PRECISIONS, CompileResult, CompileSettings, ProfileResult, Progress, RecutRung
from secateur.criteria import Evidence, score
from secateur.graph import find_groups, prove, prove_sorted
from secateur.graph.proof import random_keeps
from secateur.ir import InfeasibleError, Network, Samples, SecateurError, joined, samples_of
from secateur.ir.groups import Keep
from secateur.load import Task, load_model, load_task
from secateur.master import Master, tune_master
from secateur.pruning import cut, sort_groups
from secateur.search import Costs, Roofline, plan_ladder, price, shrink_path
from secateur.search.choose import corrections, latency_model, plan_between
from secateur.search.path import Step
from secateur.tuning import SandwichSettings
from secateur.twin import batches, fixed_values, run
from secateur.workspace import (
    ProfileState,
    checked_name,
    load_workspace,
    locked,
    read_file,
    save_workspace,
    steps_of,
    write_state,
)
from secateur_agent.bundle.manifest import Metric, Recut
from secateur_agent.bundle.recipe import decode_recipe, encode_recipe
from secateur_agent.protocol.messages import Constraints, RungMeasurement
from secateur_profiles import Profile
from secateur_profiles import load as load_profile

__all__ = ["CompileResult", "CompileSettings", "RecutRung", "compile", "recut"]

_DEFAULTS = CompileSettings()


def _quiet(stage: str, done: int, total: int) -> None:
    del stage, done, total


def compile(
    model: str | torch.nn.Module,
    task: str | Task,
    profiles: Sequence[str],
    out: Path,
    name: str,
    keys: Keys,
    settings: CompileSettings = _DEFAULTS,
    progress: Progress = _quiet,
) -> CompileResult:
    """Compile a trained network into one bundle per device profile; all share one tuning and one base.

    Args:
        model: ``module:function``, ``FILE.onnx`` or a module.
        task: ``module:object``, ``FILE.npz`` or a loaded task.
        profiles: names or files of device profiles.
        out: folder for ``NAME-PROFILE.bundle`` folders and ``workspace``.
        name: of the model.
        keys: must hold the ``bundle`` key.
        settings: how.
        progress: told how far it is.

    Returns:
        What was made. Nothing is written to ``out`` before every rung has passed its gate.

    Raises:
        SecateurError: one line; `InfeasibleError` if no network meets the budgets.
    """
    checked_name(name)
    _check_writable(out)
    if not profiles:
        raise SecateurError("no device profile: give at least one with --profile ('secateur profiles list' shows them)")
    clock = _Clock()
    chosen = [_target(load_profile(profile), settings) for profile in profiles]
    loaded = load_task(task) if isinstance(task, str) else task
    progress("load", 0, 1)
    network = _load(model, loaded)
    groups = find_groups(network)
    judge = _judge(network, loaded)
    clock.lap("load")
    progress("prove", 0, 1)
    proof_error = prove(network, groups, cut, random_keeps(groups, 2))
    clock.lap("prove")
    evidence = Evidence(network, groups, loaded.inputs("calibration"), loaded.targets("calibration"), loaded.loss)
    scores = score(settings.criterion, evidence)
    ordered = sort_groups(network, groups, scores)
    proof_error = max(proof_error, prove_sorted(network, ordered))
    network = ordered
    scores = {key: -np.sort(-value) for key, value in scores.items()}
    costs = Costs(network, groups)
    # One path for all profiles: so their rungs coincide where budgets allow, and are tuned once.
    common = partial(_share_of_full, chosen, costs, groups.full())
    path = shrink_path(groups, scores, common, math.lcm(*(target.profile.grid.channels for target in chosen)))
    paths, plans = {}, {}
    for target in chosen:
        key = target.profile.name
        paths[key] = price(path, partial(target.latency_ms, costs))
        plans[key] = plan_ladder(paths[key], costs, target, settings.budget, settings.rungs, common)
    clock.lap("plan")
    tuning = SandwichSettings(steps=settings.steps, seed=settings.seed)
    master = tune_master(
        network,
        groups,
        scores,
        list(plans.values()),
        path,
        loaded,
        tuning,
        lambda step, _: progress("tune", step, settings.steps),
    )
    clock.lap("tune")
    ladders: dict[str, Ladder] = {}
    total, done = sum(len(found) for found in plans.values()), 0
    for target in chosen:
        key = target.profile.name
        tick = partial(_offset_progress, progress, done, total)
        ladders[key] = build_ladder(master, judge, plans[key], target, settings.budget.accuracy_drop, tick)
        done += len(plans[key])
    clock.lap("build")
    result = CompileResult(
        name=name,
        profiles=[],
        original_value={s: loaded.metric(judge.original[s], s, judge.original[s]) for s in ("validation", "test")},
        metric_name=loaded.metric_name,
        labelled=loaded.labelled,
        groups=groups,
        proof_error=proof_error,
        tuning_steps=settings.steps,
    )
    states = {}
    try:
        for target in chosen:
            key = target.profile.name
            packed, states[key] = _pack(out, name, master, judge, target, ladders[key], paths[key], keys)
            result.profiles.append(packed)
        for key, state in states.items():
            _write_parents(out / "workspace", key, state, ladders[key].rungs)
        save_workspace(out / "workspace", name, master, judge, states)
    except OSError as error:
        raise SecateurError(f"{out}: cannot be written: {error.strerror or error}") from None
    clock.lap("pack")
    result.seconds = clock.laps
    progress("pack", 1, 1)
    return result


def _check_writable(out: Path) -> None:
    """Refuse a folder that cannot be written before minutes are spent on what would go into it."""
    place = out.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise SecateurError(f"{out}: cannot be written: {place} is not a folder that you may write to")


def _share_of_full(targets: Sequence[Roofline], costs: Costs, full: Keep, keep: Keep) -> float:
    """Latency as a share of the full network's, the mean of all targets."""
    return sum(t.latency_ms(costs, keep) / t.latency_ms(costs, full) for t in targets) / len(targets)


def _offset_progress(progress: Progress, done: int, total: int, number: int) -> None:
    progress("build", done + number, total)


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 2)
        self._last = now


def _target(profile: Profile, settings: CompileSettings) -> Roofline:
    """The profile with the precision to plan for: the first wanted that can be built."""
    wanted = settings.precisions or tuple(profile.precisions)
    for precision in wanted:
        if precision in PRECISIONS and precision in profile.precisions:
            return Roofline(profile, precision)
    raise SecateurError(
        f"profile {profile.name}: none of {', '.join(wanted)} can be built; it takes {', '.join(profile.precisions)}"
    )


def _load(model: str | torch.nn.Module, task: Task) -> Network:
    if isinstance(model, str):
        network = load_model(model, task.examples)
    else:
        from secateur.load import export_module

        network = export_module(model, task.examples)
    task.fit({name: (shape[1:], network.dtype(name)) for name, shape in network.inputs.items()})
    return network


def _judge(network: Network, task: Task) -> Judge:
    values = fixed_values(network)

    def outputs(inputs: Samples) -> Samples:
        with torch.no_grad():
            found = [run(network, batch, values).values() for batch in batches(network, inputs, 256)]
        return joined([samples_of([value.numpy() for value in part]) for part in found])

    return Judge(task, {split: outputs(task.inputs(split)) for split in ("validation", "test")})


def _pack(
    out: Path,
    name: str,
    master: Master,
    judge: Judge,
    target: Roofline,
    ladder: Ladder,
    path: list[Step],
    keys: Keys,
) -> tuple[ProfileResult, ProfileState]:
    precision, profile = target.precision, target.profile
    files = {f"base-{precision}.safetensors": ladder.base}
    files |= {f"recipes/{rung.entry.id}.recipe": rung.recipe_file for rung in ladder.rungs}
    inputs, outputs = tensor_specs(master.network)
    folder = out / f"{name}-{profile.name}.bundle"
    out.mkdir(parents=True, exist_ok=True)
    metric = Metric(name=judge.task.metric_name, split="validation", labelled=judge.task.labelled)
    bundle = pack(folder, name, profile.name, files, [r.entry for r in ladder.rungs], inputs, outputs, metric, keys)
    size = sum(len(data) for data in files.values()) + (folder / "manifest.json").stat().st_size
    state = ProfileState(
        bundle=bundle.manifest_sha256,
        path=[(step.keep, step.latency_ms) for step in path],
        rungs={rung.entry.id: rung.entry.latency_ms for rung in ladder.rungs},
        parents={precision: f"{profile.name}-{precision}.recipe"},
        bases={precision: digest(ladder.base)},
        next_number=len(ladder.rungs) + len(ladder.dropped),
        device=profile,
    )
    return ProfileResult(profile.name, folder, ladder.rungs, ladder.dropped, size), state


def _write_parents(folder: Path, profile: str, state: ProfileState, rungs: list[BuiltRung]) -> None:
    """Keep the recipe whose program later rungs share."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in state.parents.values():
        (folder / file).write_bytes(encode_recipe(rungs[0].recipe))


def recut(
    workspace: Path,
    profile: str,
    constraints: Constraints,
    measurements: Sequence[RungMeasurement],
    keys: Keys | None = None,
    precision: str = "",
) -> RecutRung:
    """Cut one more rung from the base of an earlier compilation.

    Args:
        workspace: the folder that `compile` left.
        profile: the device profile whose bundle the rung joins.
        constraints: what it must meet on the device.
        measurements: what the device measured of its rungs: the planned latencies are corrected by them.
        keys: must hold the ``recut`` key; the default folder's if None.
        precision: of the rung; the bundle's if empty.

    Returns:
        The rung. Its shared weights are slices of the same base, its recipe has no program of its own.

    Raises:
        InfeasibleError: if no width between the rungs meets the constraints.
        SecateurError: if the workspace does not have this profile.
    """
    start = time.perf_counter()
    from secateur.bundle.keys import default_folder

    signer = keys or load_or_create_keys(default_folder())
    with locked(workspace):
        state, master, judge = load_workspace(workspace)
        if profile not in state.profiles:
            raise SecateurError(
                f"workspace {workspace}: no bundle for profile {profile!r}; it has {', '.join(state.profiles)}"
            )
        mine = state.profiles[profile]
        chosen = precision or next(iter(mine.bases))
        if chosen not in mine.bases:
            raise SecateurError(f"workspace {workspace}: no {chosen} base for {profile}; it has {', '.join(mine.bases)}")
        model = Roofline(mine.device, chosen)
        costs = Costs(master.network, master.groups)
        latency = latency_model(mine.rungs, measurements)
        path = steps_of(mine)
        device = corrections(path, costs, model, mine.rungs, measurements)
        plan = plan_between(path, costs, model, latency, constraints, mine.rungs, device)
        parent = decode_recipe(read_file(workspace, mine.parents[chosen]))
        rung = build_rung(master, judge, plan, mine.next_number, chosen, mine.bases[chosen], parent)
        if rung.gate.reason:
            raise InfeasibleError(f"re-cut for {profile}: {rung.gate.reason}")
        if rung.entry.recipe == digest(encode_recipe(rung.recipe)):
            raise SecateurError(f"re-cut for {profile}: the rung's program is not that of the bundle; compile again")
        envelope = signer.seal("recut", Recut(bundle=mine.bundle, rung=rung.entry))
        mine.next_number += 1
        mine.rungs[rung.entry.id] = rung.entry.latency_ms
        write_state(workspace, state)
    return RecutRung(rung.entry, rung.recipe_file, envelope, round(time.perf_counter() - start, 2))
