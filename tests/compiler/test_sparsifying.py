"""Zeros in the base: shared by all rungs, kept through repair and int8; they compress and do nothing else."""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compiler import compiled, digits

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Network, SecateurError
from secateur.load.task import accuracy
from secateur.master import Master, tune_master
from secateur.pipeline import CompileResult, CompileSettings, compile
from secateur.pruning import cut, sort_groups
from secateur.pruning.weights import PATTERNS, WEIGHT_CRITERIA, WeightEvidence, holds, score_weights, zero_share
from secateur.report import notes, render, summarise
from secateur.search import Costs, Step
from secateur.search.planner import Plan
from secateur.sparsifying import NOTE, Sparsity, sparsify_master
from secateur.tuning import SandwichSettings
from secateur.twin import fixed_values, run
from secateur_agent.bundle.base import read_base


@cache
def dense(steps: int) -> tuple[Master, Network]:
    """A master of two rungs, and the original in its order."""
    network = digits.network()
    groups = find_groups(network)
    scores = score("magnitude-l2", Evidence(network, groups))
    network, costs = sort_groups(network, groups, scores), Costs(network, groups)
    keeps = [{group.id: round(share * group.size) for group in groups.groups} for share in (1.0, 0.5)]
    plans = [Plan(keep, 1.0, 1.0, 1.0, 1.0, costs.macs(keep), costs.params(keep)) for keep in keeps]
    path, settings = [Step(keep, 1.0) for keep in keeps], SandwichSettings(steps=steps, batch=64)
    return tune_master(network, groups, scores, [plans], path, digits.task(), settings, lambda *_: None), network


def sparse(pattern: str, amount: float, criterion: str, repair: int, tuned: int = 30) -> Master:
    master, teacher = dense(tuned)
    return sparsify_master(master, teacher, digits.task(), Sparsity(pattern, amount, criterion, repair))


def accuracy_of(network: Network) -> float:
    with torch.no_grad():
        x = torch.from_numpy(digits.task().inputs("test"))
        outputs = next(iter(run(network, {"input": x}, fixed_values(network)).values())).numpy()
    return accuracy(outputs, digits.arrays()[3])


@pytest.mark.parametrize("criterion", sorted(WEIGHT_CRITERIA))
@pytest.mark.parametrize(("pattern", "amount"), [*((name, 0.5) for name in sorted(PATTERNS)), ("2:4", 0.0), ("4:8", 0.0)])
def test_every_pattern_with_every_criterion_keeps_the_networks_usable(pattern: str, amount: float, criterion: str) -> None:
    if pattern == "value":  # the threshold that half of the weights are below
        before, task = dense(30)[0], digits.task()
        network = before.rung_network(before.groups.full())
        evidence = WeightEvidence(network, before.calibration, task.targets("calibration"), task.loss)
        amount = float(np.median(np.concatenate([v.ravel() for v in score_weights(criterion, evidence).values()])))
    master = sparse(pattern, amount, criterion, repair=15)
    assert zero_share(master.network.weights) == pytest.approx(0.5, abs=0.01)
    original, smaller = (accuracy_of(master.rung_network(keep)) for keep, _ in master.goals)
    assert original > 0.9
    assert smaller > 0.7


@pytest.mark.parametrize("tuned", [0, 30])
def test_zeros_hold_through_repair_and_the_repair_helps(tuned: int) -> None:
    before, plain, repaired = dense(tuned)[0], *(sparse("ratio", 0.8, "magnitude", n, tuned) for n in (0, 40))
    for name, weight in plain.network.weights.items():
        np.testing.assert_array_equal(repaired.network.weights[name] == 0, weight == 0)
        kept = weight != 0
        np.testing.assert_array_equal(weight[kept], before.network.weights[name][kept])
    full = before.groups.full()
    assert accuracy_of(repaired.rung_network(full)) > accuracy_of(plain.rung_network(full)) + 0.01


@pytest.mark.parametrize("tuned", [0, 30])
def test_recalibration_alone_repairs_a_part_of_the_original(tuned: int) -> None:
    before, plain = dense(tuned)[0], sparse("ratio", 0.6, "magnitude", 0, tuned)
    full = before.groups.full()
    raw = before.rung_network(full).with_values(weights=plain.network.weights)
    assert accuracy_of(plain.rung_network(full)) > accuracy_of(raw)


def test_a_zero_is_a_zero_in_every_rung_and_after_quantization() -> None:
    master = sparse("2:4", 0.0, "magnitude", 10)
    for name, weight in master.network.weights.items():
        quantized = master.base("int8")[name]
        assert quantized.dtype == np.int8
        assert (quantized[weight == 0] == 0).all()
        assert holds(quantized, 2, 4)
    for keep, _ in master.goals:
        small = cut(master.network, master.groups, keep)
        index = master.index(keep)
        for name, weight in small.weights.items():
            np.testing.assert_array_equal(weight == 0, master.network.weights[name][np.ix_(*index[name])] == 0)
            assert holds(weight, 2, 4)


@cache
def compilation(pattern: str) -> CompileResult:
    settings = CompileSettings(
        rungs=3,
        steps=5,
        sparsity=0.0 if ":" in pattern else 0.6,
        sparsity_pattern=pattern,
        sparsity_steps=5,
    )
    profiles, out = [str(compiled.board_file()), str(compiled.board_file(compiled.GATEWAY))], compiled.folder() / pattern
    return compile(str(compiled.digits_onnx()), digits.task(), profiles, out, "digits", compiled.keys(), settings)


@cache
def dense_compilation() -> CompileResult:
    profiles = [str(compiled.board_file()), str(compiled.board_file(compiled.GATEWAY))]
    settings, out = CompileSettings(rungs=3, steps=5), compiled.folder() / "dense"
    return compile(str(compiled.digits_onnx()), digits.task(), profiles, out, "digits", compiled.keys(), settings)


@pytest.mark.parametrize("pattern", ["ratio", "2:4"])
def test_zeros_give_no_size_but_a_base_that_compresses(pattern: str) -> None:
    """tensorflow/model-optimization#173, #611, #722: "pruned, and the file is as large as before"."""
    with_zeros, without = compilation(pattern), dense_compilation()
    for pruned, plain in zip(with_zeros.profiles, without.profiles):
        assert pruned.dropped == {}
        assert [r.entry.file_bytes for r in pruned.rungs] == pytest.approx(
            [r.entry.file_bytes for r in plain.rungs], rel=5e-3
        )
        assert [r.entry.latency_ms for r in pruned.rungs] == [r.entry.latency_ms for r in plain.rungs]
        base, other = (next(made.bundle.glob("base-*")).read_bytes() for made in (pruned, plain))
        assert len(base) == len(other)
        assert len(lzma.compress(base)) < 0.85 * len(lzma.compress(other))
    report = with_zeros.sparsity
    assert report is not None
    for precision in ("int8", "fp32"):
        assert report.compressed_after[precision] < 0.85 * report.compressed_before[precision]
    assert report.zero_share > 0.45


def test_the_shipped_int8_base_has_the_zeros() -> None:
    report = compilation("ratio").sparsity
    made = next(each for each in compilation("ratio").profiles if each.profile == compiled.BOARD)
    tensors = read_base(Path(made.bundle) / "base-int8.safetensors")
    assert report is not None
    for name, share in report.layers.items():
        assert (np.asarray(tensors[name]) == 0).mean() >= share - 1e-6


def test_whoever_asks_for_zeros_is_told_what_they_buy() -> None:
    report = summarise(compilation("ratio"))
    assert report.sparsity is not None
    assert "Zeros give neither speed nor size (tensorflow/model-optimization#173, #611, #722)" in report.sparsity.note
    lines = notes(report)
    assert any(NOTE in line for line in lines)
    assert any("60.0% of the shared weights are zero" in line for line in lines)
    assert any(line.startswith("base-int8: ") and "xz" in line for line in lines)
    page = render(report)
    assert "tensorflow/model-optimization#173" in page
    assert summarise(dense_compilation()).sparsity is None
    assert "Zeros" not in render(summarise(dense_compilation()))


def test_which_rungs_keep_n_of_m_is_said() -> None:
    report = summarise(compilation("2:4"))
    assert report.sparsity is not None
    rungs = {f"{made.profile}/{rung.id}" for made in report.profiles for rung in made.rungs}
    assert report.sparsity.pattern_kept == dict.fromkeys(rungs, True)
    lines = notes(report)
    assert any("every rung keeps the 2:4 pattern" in line for line in lines)
    assert any("sparse tensor cores only" in line for line in lines)


def test_how_far_the_original_moved_is_said() -> None:
    result = compilation("ratio")
    for made, profile in zip(result.profiles, summarise(result).profiles):
        expected = made.rungs[0].entry.metric_value - result.original_value["validation"]
        assert profile.original_change == pytest.approx(expected, abs=1e-6)
    assert any("r0 shares the tuned base" in line for line in notes(summarise(result)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sparsity": 0.5, "sparsity_pattern": "stripes"}, "sparsity pattern 'stripes'"),
        ({"sparsity": 1.5}, "a share of the weights below 1"),
        ({"schedule": "sudden"}, "schedule 'sudden'"),
        ({"regulariser": "l9"}, "regulariser 'l9'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    settings = CompileSettings(**changes)  # type: ignore[arg-type]
    with pytest.raises(SecateurError, match=reason):
        compile("missing.onnx", digits.task(), ["raspberry-pi-4b"], tmp_path / "out", "x", compiled.keys(), settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "iterative"},
        {"schedule": "gradual", "schedule_steps": 10},
        {"schedule": "dynamic", "schedule_steps": 10, "regulariser": "l1-scale", "regulariser_steps": 10},
        {"regulariser": "group-lasso", "regulariser_steps": 10, "sparsity": 0.5, "sparsity_pattern": "soft", "steps": 0},
    ],
)
def test_whole_compilations_with_schedules_and_penalties(tmp_path: Path, changes: dict[str, object]) -> None:
    settings = CompileSettings(**{"rungs": 2, "steps": 5, "sparsity_steps": 5, **changes})  # type: ignore[arg-type]
    profiles = [str(compiled.board_file())]
    made = compile(str(compiled.digits_onnx()), digits.task(), profiles, tmp_path, "digits", compiled.keys(), settings)
    assert made.profiles[0].dropped == {}
    assert made.profiles[0].rungs[0].entry.metric_value > 0.9
    assert made.profiles[0].rungs[1].entry.metric_value > 0.5
    report = summarise(made)
    assert (report.schedule, report.regulariser) == (settings.schedule, settings.regulariser)
    assert report.schedule in render(report)
