"""Sandwich distillation makes subnetworks of shared weights follow the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.compiler import digits
from tests.compiler.networks import MAKERS, network_of, samples

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Network, SecateurError, Table
from secateur.load.task import agreement
from secateur.master import Master, subnetwork_of, tune_master
from secateur.pruning import sort_groups
from secateur.search import Costs, Step
from secateur.search.planner import Plan
from secateur.tuning import SandwichSettings, distil, fold_statistics, measure_statistics, sandwich
from secateur.twin import fixed_values, run
from secateur.twin.distance import output_distance


def outputs_of(network: Network) -> np.ndarray:
    with torch.no_grad():
        found = run(network, {"input": torch.from_numpy(digits.task().inputs("validation"))}, fixed_values(network))
    return next(iter(found.values())).numpy()


def ladder(network: Network, shares: tuple[float, ...]) -> list[Plan]:
    groups = find_groups(network)
    costs = Costs(network, groups)
    plans = []
    for share in shares:
        keep = {group.id: round(share * group.size) for group in groups.groups}
        plans.append(Plan(keep, share, 1.0, 1.0, 1.0, costs.macs(keep), costs.params(keep)))
    return plans


def tuned(network: Network, shares: tuple[float, ...], steps: int, on_step: Callable[[int, float], None]) -> Master:
    """Tune a ladder of these shares."""
    groups = find_groups(network)
    path = [Step(plan.keep, plan.latency_ms) for plan in ladder(network, (1.0, 0.75, 0.5, 0.375, 0.25))]
    scores, settings = score("magnitude-l2", Evidence(network, groups)), SandwichSettings(steps=steps, batch=64)
    return tune_master(network, groups, scores, [ladder(network, shares)], path, digits.task(), settings, on_step)


def sorted_network() -> Network:
    network = digits.network()
    groups = find_groups(network)
    return sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))


def test_small_networks_agree_more_with_the_original_and_the_full_one_still_does() -> None:
    network, shares = sorted_network(), (1.0, 0.5, 0.25)
    original = outputs_of(network)
    losses: list[float] = []

    def agreements(steps: int) -> list[float]:
        master = tuned(network, shares, steps, lambda _, loss: losses.append(loss))
        return [agreement(outputs_of(master.rung_network(plan.keep)), original) for plan in ladder(network, shares)]

    before, after = agreements(0), agreements(60)
    assert before[0] == 1.0
    assert before[1] > 0.3, "recalibration alone keeps a part"
    assert after[0] > 0.95
    assert after[1] > before[1] + 0.05
    assert after[2] > before[2] + 0.1
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_widths_between_tuned_ones_work_after_recalibration_alone() -> None:
    network = sorted_network()
    master = tuned(network, (1.0, 0.5), 60, lambda *_: None)
    between = ladder(network, (0.75,))[0]
    assert agreement(outputs_of(master.rung_network(between.keep)), outputs_of(network)) > 0.8


def test_without_tuning_the_outputs_scale_and_shift_stay_what_they_are() -> None:
    network = sorted_network()
    master = tuned(network, (1.0, 0.5), 0, lambda *_: None)
    output = next(node.attrs["table"] for node in network.nodes if node.output in network.outputs)
    table = master.rung_network(ladder(network, (0.5,))[0].keep).tables[output]
    np.testing.assert_array_equal(table.scale, network.tables[output].scale)
    np.testing.assert_array_equal(table.shift, network.tables[output].shift)


def test_probabilities_are_distilled_like_the_logits_they_come_from() -> None:
    generator = torch.Generator().manual_seed(0)
    got, expected = (3 * torch.randn((8, 5), generator=generator) for _ in range(2))
    from_logits = output_distance(got, expected, 4.0)
    assert float(from_logits) > 0.1
    torch.testing.assert_close(output_distance(got.softmax(1), expected.softmax(1), 4.0), from_logits, rtol=1e-3, atol=1e-4)


def tuned_perceptron(seed: int, steps: int = 4) -> tuple[dict[str, np.ndarray], list[dict[str, Table]]]:
    """Distil two widths for a few, violent steps."""
    network, x = network_of("mlp"), samples((10,), 80)
    groups = find_groups(network)
    statistics = measure_statistics(network, x)
    keeps = [{group.id: round(share * group.size) for group in groups.groups} for share in (1.0, 0.5)]
    subnetworks = [subnetwork_of(network, groups, keep, statistics) for keep in keeps]
    return distil(network, subnetworks, x, SandwichSettings(steps=steps, batch=16, learning_rate=0.5, seed=seed))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = tuned_perceptron(0), tuned_perceptron(0), tuned_perceptron(1)
    for name in first[0]:
        np.testing.assert_array_equal(first[0][name], again[0][name])
    for tables, repeated in zip(first[1], again[1]):
        for name in tables:
            np.testing.assert_array_equal(tables[name].scale, repeated[name].scale)
    assert any((first[0][name] != other[0][name]).any() for name in first[0])


def test_gains_are_never_negative() -> None:
    _, tables = tuned_perceptron(0, steps=12)
    assert all((table.scale >= 0).all() for private in tables for table in private.values())


def test_a_gain_that_does_not_follow_a_weight_keeps_its_sign() -> None:
    network, x = network_of("mixed"), samples((2, 20), 64)
    groups = find_groups(network)
    subnetworks = [subnetwork_of(network, groups, groups.full(), measure_statistics(network, x))]
    settings = SandwichSettings(steps=12, batch=32, learning_rate=1.0)
    (tables,) = distil(network, subnetworks, x, settings)[1]
    (alone,) = [name for name, table in network.tables.items() if (table.scale < 0).any()]
    moved = tables[alone].scale
    assert (moved[network.tables[alone].scale < 0] <= 0).all()
    assert (moved[network.tables[alone].scale >= 0] >= 0).all()
    assert (moved < 0).any()


def test_one_training_sample_is_refused_in_one_line() -> None:
    network = network_of("mlp")
    with pytest.raises(SecateurError, match="at least two training samples"):
        distil(network, [], samples((10,), 1), SandwichSettings(steps=1))


@pytest.mark.parametrize("name", ["preactivation", "mixed"])
def test_negative_scales_that_follow_no_weight_survive_tuning(name: str) -> None:
    """A batch norm of a residual stream may have negative scales; steps of no size must give the original back."""
    network, x = network_of(name), samples(MAKERS[name][1], 256)
    groups = find_groups(network)
    student = subnetwork_of(network, groups, groups.full(), measure_statistics(network, x))
    settings = SandwichSettings(steps=2, batch=32, learning_rate=1e-9, weight_decay=0.0)
    _, (tables,) = distil(network, [student], x, settings)
    folded = fold_statistics(network, tables, x)
    negative = {key for key, table in network.tables.items() if (table.scale < 0).any()}
    assert negative, "nothing here has a negative scale, so that this test would show nothing"
    for key in negative:
        np.testing.assert_allclose(folded[key].scale, network.tables[key].scale, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize(("steps", "own"), [(10, True), (200, False)])
def test_networks_of_a_step_have_samples_of_their_own_if_each_is_seen_a_few_times_at_most(
    steps: int, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[np.ndarray] = []
    plain = sandwich.run

    def spy(network: Network, x: dict[str, torch.Tensor], *rest: Any, **options: Any) -> dict[str, torch.Tensor]:
        asked.append(x["input"].numpy())
        if len(asked) == 6:
            raise KeyboardInterrupt
        return plain(network, x, *rest, **options)

    monkeypatch.setattr(sandwich, "run", spy)
    with pytest.raises(KeyboardInterrupt):
        tuned(sorted_network(), (1.0, 0.5, 0.25), steps, lambda *_: None)
    first, second, third = asked[:3]
    assert (first == second).all() == (second == third).all() == (not own)
