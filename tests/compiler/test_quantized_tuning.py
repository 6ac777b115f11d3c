"""Tuning that sees what int8 rounds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.compiler import digits

from secateur.criteria import Evidence, score
from secateur.evaluation import Session
from secateur.graph import find_groups
from secateur.ir import Network
from secateur.ir.groups import keep_key
from secateur.master import Master, tune_master
from secateur.pruning import sort_groups
from secateur.quantized_tuning import better_in_int8, quantized_precision, told, tune_quantized
from secateur.search import Costs, Plan, Step
from secateur.tuning import SandwichSettings

SETTINGS = SandwichSettings(steps=30, batch=64, learning_rate=0.01)


@cache
def tuned() -> tuple[Network, Master]:
    network = digits.network()
    groups = find_groups(network)
    scores = score("magnitude-l2", Evidence(network, groups))
    network = sort_groups(network, groups, scores)
    costs = Costs(network, groups)
    plans = []
    for share in (1.0, 0.5, 0.25):
        keep = {group.id: round(share * group.size) for group in groups.groups}
        plans.append(Plan(keep, share, 1.0, 1.0, 1.0, costs.macs(keep), costs.params(keep)))
    path = [Step(plan.keep, plan.latency_ms) for plan in plans]
    settings = SandwichSettings(steps=20, batch=64)
    return network, tune_master(network, groups, scores, [plans], path, digits.task(), settings, lambda *_: None)


def accuracy(data: bytes) -> float:
    task = digits.task()
    return float((Session(data).run(task.inputs("validation")).argmax(1) == task.targets("validation")).mean())


def test_the_loss_in_int8_falls_and_zeros_stay_zeros() -> None:
    """Pruning and quantization-aware training do not compose (VainF/Torch-Pruning#291); here they do."""
    teacher, master = tuned()
    weights = {name: weight.copy() for name, weight in master.network.weights.items()}
    weights["w1"][:, ::2, 0, 0] = 0.0
    master = replace(master, network=master.network.with_values(weights=weights))
    losses: list[float] = []
    judged = digits.task().inputs("validation")
    found = tune_quantized(master, teacher, digits.task(), "int8", SETTINGS, judged, lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert (found.network.weights["w1"][:, ::2, 0, 0] == 0).all()
    assert (found.network.weights["w2"] != master.network.weights["w2"]).any()
    assert [keep for keep, _ in found.goals] == [keep for keep, _ in master.goals]


def test_rungs_go_on_from_where_they_were() -> None:
    teacher, master = tuned()
    judged = digits.task().inputs("validation")
    tiny = SandwichSettings(steps=1, batch=64, learning_rate=1e-9, weight_decay=0.0)
    same = tune_quantized(master, teacher, digits.task(), "int8", tiny, judged, lambda *_: None)
    for keep, _ in master.goals:
        before, after = master.rung_network(keep), same.rung_network(keep)
        for name, table in before.tables.items():
            np.testing.assert_allclose(after.tables[name].scale, table.scale, rtol=1e-3, atol=1e-5)


def test_it_is_kept_only_if_the_files_are_better() -> None:
    teacher, master = tuned()
    judged = digits.task().inputs("validation")
    seen: list[bytes] = []

    def metric(data: bytes) -> float:  # the first three files are those without
        seen.append(data)
        return 0.9 if len(seen) <= 3 else 0.5

    tuned_on = tune_quantized(master, teacher, digits.task(), "int8", SETTINGS, judged, lambda *_: None)
    kept, found = better_in_int8(master, tuned_on, "int8", SETTINGS.steps, judged, metric)
    assert kept is master
    assert not found.kept
    assert "not kept" in told(found)
    better, found = better_in_int8(master, tuned_on, "int8", SETTINGS.steps, judged, accuracy)
    assert found.kept == (sum(found.after.values()) >= sum(found.before.values()))
    assert (better is master) != found.kept
    assert set(found.before) == set(found.after) == {keep_key(keep) for keep, _ in master.goals}


@pytest.mark.parametrize(
    ("precisions", "chosen"),
    [(["fp32", "int8"], "int8"), (["int8-symmetric"], "int8-symmetric"), (["fp16", "int8-weight-only"], "")],
)
def test_the_first_precision_with_int8_activations_is_seen(precisions: list[str], chosen: str) -> None:
    assert quantized_precision(precisions) == chosen
