"""The order of the steps: from a trained network to bundles."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from secateur.assembly import Judge, Ladder, tensor_specs
from secateur.building import BuiltProfile, build_profiles, told
from secateur.bundle.keys import Keys
from secateur.bundle.pack import digest, pack
from secateur.compilation import CompileResult, CompileSettings, ProfileResult, Progress
from secateur.gains import measure_gains
from secateur.graph import find_groups, prove, prove_sorted
from secateur.graph.proof import random_keeps
from secateur.int8_preparation import check_tuning, prepare_int8
from secateur.ir import Network, SecateurError
from secateur.load import Task, load_model, load_task
from secateur.master import Master, tune_master, untuned_master
from secateur.planning import forget_trials, plan
from secateur.programs import parents_of, write_parents
from secateur.protection import explain, protect_largest
from secateur.pruning import cut, sort_groups
from secateur.pruning.weights import check_pattern
from secateur.scheduling import TRAINING, Material, check_preparation, prepare
from secateur.search import Costs, Estimator, MeasuredTable, coverage
from secateur.sparsifying import Sparsity, SparsityReport, report_sparsity, sparsify_master
from secateur.targets import choose_targets
from secateur.tuning import SandwichSettings
from secateur.twin import outputs_of
from secateur.weighing import weigh_targets
from secateur.workspace import (
    ProfileState,
    checked_name,
    save_workspace,
)
from secateur.writing import require_writable
from secateur_agent.bundle.manifest import Metric
from secateur_profiles import load as load_profile

__all__ = ["CompileResult", "CompileSettings", "compile"]

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
        What was made. Nothing but what the search tried is written to ``out`` before every rung has passed its gate.

    Raises:
        SecateurError: one line; `InfeasibleError` if no network meets the budgets.
    """
    checked_name(name)
    _check_writable(out)
    with _clean(out):
        return _compile(model, task, profiles, out, name, keys, settings, progress)


@contextmanager
def _clean(out: Path) -> Iterator[None]:
    """What cannot be is not worth going on with; what was interrupted is."""
    existed = out.exists()
    try:
        yield
    except SecateurError:
        forget_trials(out)
        if not existed and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


def _compile(
    model: str | torch.nn.Module,
    task: str | Task,
    profiles: Sequence[str],
    out: Path,
    name: str,
    keys: Keys,
    settings: CompileSettings,
    progress: Progress,
) -> CompileResult:
    if not profiles:
        raise SecateurError("no device profile: give at least one with --profile ('secateur profiles list' shows them)")
    sparsity = _sparsity(settings)
    check_preparation(
        settings.schedule,
        settings.schedule_steps,
        settings.regulariser,
        settings.regulariser_steps,
        settings.regulariser_strength,
    )
    clock = _Clock()
    notes: list[str] = []
    known = [load_profile(profile) for profile in profiles]
    chosen = choose_targets(known, settings.precisions, settings.latency_tables, settings.find_tables, notes)
    if settings.precisions:
        check_tuning(settings, chosen)
    loaded = load_task(task) if isinstance(task, str) else task
    progress("load", 0, 1)
    network = _load(model, loaded)
    for target in chosen:
        require_writable(network, target.profile.runtime.name)
    groups = find_groups(network)
    judge = _judge(network, loaded)
    clock.lap("load")
    progress("prove", 0, 1)
    proof_error = prove(network, groups, cut, random_keeps(groups, 2))
    clock.lap("prove")
    chosen, weighed = weigh_targets(chosen, network, groups, judge, settings, notes, progress)
    check_tuning(settings, chosen)
    clock.lap("weigh")
    calibration = loaded.inputs("calibration")
    material = Material(network, groups, loaded, settings.criterion, settings.schedule_steps, settings.seed)
    progress("rank", 0, max(_ranking_steps(settings), 1))
    ranked = prepare(
        material,
        settings.schedule,
        settings.regulariser,
        settings.regulariser_steps,
        settings.regulariser_strength,
        lambda step: progress("rank", step, max(step, _ranking_steps(settings))),
    )
    scores = ranked.scores
    teacher, ordered = (sort_groups(each, groups, scores) for each in (network, ranked.network))
    proof_error = max(proof_error, prove_sorted(network, teacher), prove_sorted(ranked.network, ordered))
    clock.lap("rank")
    network = ordered
    scores = {key: -np.sort(-value) for key, value in scores.items()}
    costs = Costs(network, groups)
    notes += [note for target in chosen if isinstance(target, MeasuredTable) for note in target.assess(costs, groups.full())]
    planned = plan(network, groups, chosen, costs, calibration, settings, out, progress)
    plans = planned.plans
    clock.lap("plan")
    tuning = SandwichSettings(steps=settings.steps, balance=settings.balance, seed=settings.seed)
    reconstructed: list[Master] = []
    tuned = tune_master(
        network,
        groups,
        scores,
        list(plans.values()),
        planned.path,
        loaded,
        tuning,
        lambda step, _: progress("tune", step, settings.steps),
        teacher,
        reconstructed.append,
    )
    untuned = untuned_master(teacher, groups, scores, loaded)
    allowed = settings.largest_may_lose / 100
    master, tuned_share = protect_largest(untuned, tuned, judge.twin_metric, allowed)
    notes += explain(tuned_share, allowed)
    clock.lap("tune")
    dense = master
    if sparsity is not None:
        progress("sparsify", 0, max(sparsity.steps, 1))
        master = sparsify_master(
            master, teacher, loaded, sparsity, lambda step: progress("sparsify", step, settings.sparsity_steps)
        )
        clock.lap("sparsify")
    master, quantized = prepare_int8(master, teacher, judge, chosen, settings, notes, progress, clock.lap)
    built = build_profiles(master, judge, chosen, plans, planned.paths, costs, settings, progress)
    notes += told(built)
    clock.lap("build")
    ladders = {key: each.ladder for key, each in built.items()}
    keeps = [rung.entry.keep for ladder in ladders.values() for rung in ladder.rungs]
    as_it_was = tuned_share == 0 and sparsity is None and not settings.qat_steps
    shipped = untuned if as_it_was else master
    gains = measure_gains(untuned, reconstructed[0], shipped, keeps, judge.twin_metric) if reconstructed else {}
    clock.lap("gains")
    result = CompileResult(
        name=name,
        profiles=[],
        original_value={s: loaded.metric(judge.original[s], s, judge.original[s]) for s in ("validation", "test")},
        metric_name=loaded.metric_name,
        labelled=loaded.labelled,
        groups=groups,
        proof_error=proof_error,
        tuning_steps=settings.steps,
        tuned_share=tuned_share,
        notes=[*notes, *dict.fromkeys(material.notes)],
        tried=planned.tried,
        gains=gains,
        coverage=coverage(teacher, groups),
        quantized=quantized,
        schedule=settings.schedule,
        regulariser=settings.regulariser,
        sparsity=None if sparsity is None else _sparsity_report(dense, master, sparsity, chosen, ladders),
    )
    states = {}
    try:
        for target in chosen:
            key = target.profile.name
            packed, states[key] = _pack(out, name, judge, target, built[key], keys)
            result.profiles.append(replace(packed, candidates=weighed.get(key, [])))
        for key, state in states.items():
            write_parents(out / "workspace", state.parents, ladders[key].rungs)
        save_workspace(out / "workspace", name, master, judge, states)
        forget_trials(out)
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


def _sparsity(settings: CompileSettings) -> Sparsity | None:
    wanted = check_pattern(settings.sparsity_pattern, settings.sparsity, settings.sparsity_criterion)
    if not wanted:
        return None
    return Sparsity(
        settings.sparsity_pattern, settings.sparsity, settings.sparsity_criterion, settings.sparsity_steps, settings.seed
    )


def _sparsity_report(
    dense: Master, master: Master, sparsity: Sparsity, targets: Sequence[Estimator], ladders: dict[str, Ladder]
) -> SparsityReport:
    keeps = {f"{profile}/{rung.entry.id}": rung.entry.keep for profile, ladder in ladders.items() for rung in ladder.rungs}
    return report_sparsity(dense, master, sparsity, sorted({target.precision for target in targets}), keeps)


def _ranking_steps(settings: CompileSettings) -> int:
    steps = settings.regulariser_steps if settings.regulariser != "none" else 0
    return steps + (settings.schedule_steps if settings.schedule in TRAINING else 0)


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 2)
        self._last = now


def _load(model: str | torch.nn.Module, task: Task) -> Network:
    if isinstance(model, str):
        network = load_model(model, task.examples)
    else:
        from secateur.load import export_module

        network = export_module(model, task.examples)
    task.fit({name: (shape[1:], network.dtype(name)) for name, shape in network.inputs.items()})
    return network


def _judge(network: Network, task: Task) -> Judge:
    return Judge(task, {split: outputs_of(network, task.inputs(split)) for split in ("validation", "test")})


def _pack(
    out: Path,
    name: str,
    judge: Judge,
    target: Estimator,
    built: BuiltProfile,
    keys: Keys,
) -> tuple[ProfileResult, ProfileState]:
    precision, profile, ladder, master = target.precision, target.profile, built.ladder, built.master
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
        path=[(step.keep, step.latency_ms) for step in built.path],
        rungs={rung.entry.id: rung.entry.latency_ms for rung in ladder.rungs},
        parents=parents_of(ladder.rungs, master.groups, profile.name),
        bases={precision: digest(ladder.base)},
        next_number=len(ladder.rungs) + len(ladder.dropped),
        device=profile,
        latency_source=target.source,
        floating=sorted(master.floating),
    )
    return ProfileResult(profile.name, folder, ladder.rungs, ladder.dropped, size, built.mixed), state
