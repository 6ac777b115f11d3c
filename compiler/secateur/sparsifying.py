"""Zeros in the base: prunes single weights of a tuned master, repairs it, and says what that buys and what it does not."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from secateur.bundle.pack import encode_base
from secateur.ir import Network, Table
from secateur.ir.groups import Keep
from secateur.load import Task
from secateur.master import Master, subnetwork_at
from secateur.pruning import cut
from secateur.pruning.weights import WeightEvidence, holds, parse_n_of_m, score_weights, sparsify, zero_share
from secateur.tuning import SandwichSettings, distil, fold_statistics, hold_zeros, statistics_of

NOTE = (
    "Zeros give neither speed nor size (tensorflow/model-optimization#173, #611, #722): model files and latencies are those "
    "of dense networks, only a compressed base is smaller, and bundles are not compressed."
)
NOTE_N_OF_M = "N:M is faster on sparse tensor cores only, never on a CPU."


@dataclass(frozen=True)
class Sparsity:
    """What to prune and how; see `secateur.pruning.weights.check_pattern`."""

    pattern: str
    amount: float
    criterion: str
    steps: int
    seed: int = 0


@dataclass(frozen=True)
class SparsityReport:
    """What pruning single weights did.

    Attributes:
        pattern: as asked for.
        criterion: what ranked weights.
        zero_share: zeros among the shared weights of convolutions and fully connected layers, 0 to 1.
        layers: weight → its share of zeros.
        base_bytes: precision → size of the base file; pruning does not change it.
        compressed_before: precision → size of the base under xz before pruning, in bytes.
        compressed_after: after pruning, repair included.
        pattern_kept: rung id → whether its N:M pattern is whole, for N:M; slices from the front keep it.
        note: what a reader must know.
    """

    pattern: str
    criterion: str
    zero_share: float
    layers: dict[str, float]
    base_bytes: dict[str, int]
    compressed_before: dict[str, int]
    compressed_after: dict[str, int]
    pattern_kept: dict[str, bool]
    note: str


def sparsify_master(
    master: Master, teacher: Network, task: Task, sparsity: Sparsity, on_step: Callable[[int], None] = lambda step: None
) -> Master:
    """Return a master whose base has zeros: pruned once, so that a zero is zero in every rung.

    Args:
        master: tuned or not.
        teacher: the original network in the master's order, which the repair follows.
        task: its data.
        sparsity: what to prune. ``steps`` of distillation follow, zeros held at each; then, or without steps, every rung is
            recalibrated.
        on_step: told the step of the repair.
    """
    # Several inputs are none to a criterion that needs them: it says so itself.
    calibration = None if isinstance(master.calibration, tuple) else master.calibration
    evidence = WeightEvidence(master.rung_network(master.groups.full()), calibration, task.targets("calibration"), task.loss)
    scores = score_weights(sparsity.criterion, evidence)
    pruned = sparsify(evidence.weights, scores, sparsity.pattern, sparsity.amount)
    network, goals = master.network.with_values(weights={**master.network.weights, **pruned}), list(master.goals)
    if sparsity.steps:
        weights, private = distil(
            network,
            [subnetwork_at(network, master.groups, keep, goal) for keep, goal in goals],
            task.inputs("train"),
            SandwichSettings(steps=sparsity.steps, seed=sparsity.seed),
            task.targets("train") if task.loss is not None else None,
            task.loss,
            lambda step, _: on_step(step),
            teacher=teacher,
            after_step=hold_zeros(pruned),
        )
        network = network.with_values(weights=weights)
        goals = [(keep, statistics_of(tables)) for (keep, _), tables in zip(goals, private)]
    if not master.tuned:  # then the full network takes the tables as they stand
        tables = {name: Table(goal.deviation, goal.mean) for name, goal in goals[0][1].items()}
        network = network.with_values(tables=fold_statistics(network, tables, master.calibration))
    return replace(master, network=network, goals=goals)


def report_sparsity(
    before: Master, after: Master, sparsity: Sparsity, precisions: list[str], keeps: Mapping[str, Keep]
) -> SparsityReport:
    """Measure what the zeros did.

    Args:
        before: the master before pruning.
        after: and after.
        sparsity: what was asked for.
        precisions: of the bases.
        keeps: rung id → its keep-counts.
    """
    weights = {n: w for n, w in after.network.weights.items() if n not in after.network.constants}
    fixed = parse_n_of_m(sparsity.pattern)
    kept = {}
    if fixed:
        for rung, keep in keeps.items():
            small = cut(after.network, after.groups, keep).weights
            kept[rung] = all(holds(small[name], *fixed) for name in weights)
    files = {p: (encode_base(before.base(p)), encode_base(after.base(p))) for p in precisions}
    return SparsityReport(
        pattern=sparsity.pattern,
        criterion=sparsity.criterion,
        zero_share=round(zero_share(weights), 6),
        layers={name: round(zero_share({name: weight}), 6) for name, weight in weights.items()},
        base_bytes={p: len(new) for p, (_, new) in files.items()},
        compressed_before={p: len(lzma.compress(old, preset=9)) for p, (old, _) in files.items()},
        compressed_after={p: len(lzma.compress(new, preset=9)) for p, (_, new) in files.items()},
        pattern_kept=kept,
        note=f"{NOTE} {NOTE_N_OF_M}" if fixed else NOTE,
    )
