"""Every schedule with every criterion ranks all channels; iterative, gradual and dynamic do what sets them apart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from tests.compiler import digits
from tests.compiler.networks import TOPOLOGIES, export_onnx, network_of, samples

from secateur.criteria import CRITERIA
from secateur.graph import find_groups
from secateur.ir import Network, SecateurError, Table
from secateur.load import ArrayTask, Task, load_onnx
from secateur.load.task import accuracy
from secateur.master import Master
from secateur.pruning import sort_groups
from secateur.scheduling import SCHEDULES, Material, Outcome, check_preparation, prepare
from secateur.scheduling.gradual import cubic_share
from secateur.scheduling.prepare import check_follows
from secateur.tuning import REGULARISERS, measure_statistics
from secateur.twin import fixed_values, run


def material(network: Network | None = None, criterion: str = "magnitude-l2", steps: int = 60) -> Material:
    chosen = network or digits.network()
    return Material(chosen, find_groups(chosen), digits.task(), criterion, steps)


def accuracy_of(network: Network) -> float:
    with torch.no_grad():
        x = torch.from_numpy(digits.task().inputs("test"))
        outputs = next(iter(run(network, {"input": x}, fixed_values(network)).values())).numpy()
    return accuracy(outputs, digits.arrays()[3])


def cut_accuracies(found: Outcome, shares: tuple[float, ...] = (0.75, 0.5, 0.375, 0.25)) -> list[float]:
    """Accuracy of cut networks that were recalibrated and not tuned."""
    groups = find_groups(found.network)
    ordered = sort_groups(found.network, groups, found.scores)
    x = digits.task().inputs("calibration")
    master = Master(ordered, groups, found.scores, [(groups.full(), measure_statistics(ordered, x))], x)
    keeps = [{group.id: round(share * group.size) for group in groups.groups} for share in shares]
    return [accuracy_of(master.rung_network(keep)) for keep in keeps]


@cache
def another_network(seed: int) -> Network:
    """The digits network, trained from another beginning."""
    return load_onnx(export_onnx(digits.trained(seed=seed), digits.SHAPE, folded=False))


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
@pytest.mark.parametrize("schedule", ["one-shot", "iterative"])
def test_every_criterion_works_in_every_schedule_that_does_not_train(schedule: str, criterion: str) -> None:
    work = material(criterion=criterion)
    found = SCHEDULES[schedule](work)
    assert found.network is work.network
    for group in work.groups.groups:
        values = found.scores[group.id]
        assert values.shape == (group.size,)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert len(np.unique(values)) > 1
    assert cut_accuracies(found, (0.75,))[0] > 0.3


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_schedule_works_on_every_topology(name: str, schedule: str) -> None:
    network = network_of(name)
    shape = next(iter(network.inputs.values()))[1:]
    task = Task(ArrayTask(samples(shape, 80), samples(shape, 20)), "noise")
    work = Material(network, find_groups(network), task, "magnitude-l2", steps=3)
    found = SCHEDULES[schedule](work)
    for group in work.groups.groups:
        assert np.isfinite(found.scores[group.id]).all()
        assert found.scores[group.id].shape == (group.size,)
    assert (found.network is network) is (schedule in ("one-shot", "iterative"))


def test_iterative_ranks_otherwise_than_one_shot_and_what_it_removed_first_last() -> None:
    work = material()
    once, rounds = SCHEDULES["one-shot"](work), SCHEDULES["iterative"](work)
    orders = [{key: list(np.argsort(-value)) for key, value in found.scores.items()} for found in (once, rounds)]
    assert orders[0] != orders[1]
    for alive in rounds.history:
        for key, mask in alive.items():
            assert rounds.scores[key][mask].min() > rounds.scores[key][~mask].max(initial=-1.0)


def test_iterative_keeps_at_least_as_much_accuracy_as_one_shot() -> None:
    """After recalibration alone, the mean of four widths and of five networks; single networks go either way."""
    means = {
        schedule: np.mean([cut_accuracies(SCHEDULES[schedule](material(another_network(seed)))) for seed in range(5)])
        for schedule in ("one-shot", "iterative")
    }
    assert means["iterative"] >= means["one-shot"], means


def test_gradual_masks_more_and_more_never_frees_and_ranks_by_it() -> None:
    work = material()
    found = SCHEDULES["gradual"](work)
    for key, values in found.scores.items():
        counts = [int(alive[key].sum()) for alive in found.history]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] - counts[1] >= counts[-2] - counts[-1], "quickly first"
        assert counts[-1] == values.size - int(0.75 * values.size)
        for before, after in zip(found.history, found.history[1:]):
            assert not (after[key] & ~before[key]).any()
        for alive in found.history:
            assert values[alive[key]].min() > values[~alive[key]].max(initial=-1.0)


def test_the_share_grows_by_a_cube() -> None:
    assert [cubic_share(step, 100, 0.8) for step in (0, 50, 100, 150)] == pytest.approx([0, 0.7, 0.8, 0.8])


def test_training_while_masks_tighten_prepares_the_cut_and_keeps_the_original() -> None:
    once, gradual = (SCHEDULES[name](material()) for name in ("one-shot", "gradual"))
    assert np.mean(cut_accuracies(gradual)) > np.mean(cut_accuracies(once)) + 0.1
    assert accuracy_of(gradual.network) > accuracy_of(digits.network()) - 0.03


def planted() -> tuple[Network, str, int]:
    """The same function, but the filter of a good channel looks worthless: it is tiny, and its scale makes up for it."""
    network = digits.network()
    groups = find_groups(network)
    scores = SCHEDULES["one-shot"](material()).scores
    group = groups.groups[1]
    channel = int(np.argmax(scores[group.id]))
    (maker,) = [name.removeprefix("weight:") for name, axis in group.members if name.startswith("weight:") and axis == 0]
    node = next(node for node in network.nodes if node.attrs.get("weight") == maker)
    affine = next(other for other in network.nodes if other.inputs[0] == node.output)
    weights, tables = dict(network.weights), dict(network.tables)
    weights[maker] = weights[maker].copy()
    weights[maker][channel] *= 1e-2
    table = tables[affine.attrs["table"]]
    scale = table.scale.copy()
    scale[channel] *= 1e2
    tables[affine.attrs["table"]] = Table(scale, table.shift)
    return network.with_values(weights, tables), group.id, channel


def test_dynamic_brings_back_a_channel_that_was_masked_wrongly_at_first() -> None:
    network, group, channel = planted()
    assert accuracy_of(network) == pytest.approx(accuracy_of(digits.network()))
    once = SCHEDULES["one-shot"](material(network)).scores[group]
    assert int(np.argmin(once)) == channel
    found = SCHEDULES["dynamic"](material(network))
    masked = [not alive[group][channel] for alive in found.history]
    assert masked[0], "it looks worthless"
    assert not masked[-1], "it has come back"
    better = (found.scores[group] > found.scores[group][channel]).sum()
    assert better < once.size // 2
    gradual = SCHEDULES["gradual"](material(network))
    assert all(not alive[group][channel] for alive in gradual.history), "without feedback it stays masked"


@pytest.mark.parametrize("regulariser", sorted(REGULARISERS))
@pytest.mark.parametrize("schedule", ["one-shot", "dynamic"])
def test_a_penalty_goes_before_a_schedule(schedule: str, regulariser: str) -> None:
    work = material(steps=10)
    told: list[int] = []
    found = prepare(work, schedule, regulariser, 10, None, told.append)
    assert found.network is not work.network
    assert told == list(range(1, 21 if schedule == "dynamic" else 11))
    assert accuracy_of(found.network) > 0.8


def test_growing_l2_makes_the_kept_half_do_the_work() -> None:
    plain = cut_accuracies(SCHEDULES["one-shot"](material()), (0.5,))[0]
    grown = cut_accuracies(prepare(material(), "one-shot", "l2", 120), (0.5,))[0]
    assert grown > plain + 0.3


def test_a_phase_that_ruins_the_network_is_refused_in_one_line() -> None:
    with pytest.raises(SecateurError, match="regulariser group-lasso: training ruined the network") as caught:
        prepare(material(), "one-shot", "group-lasso", 60, 1.0)
    assert "\n" not in str(caught.value)
    x = digits.task().inputs("calibration")
    check_follows(digits.network(), digits.network(), x, "nothing")
    silent = {name: np.zeros_like(weight) for name, weight in digits.network().weights.items()}
    with pytest.raises(SecateurError, match=r"by 0\.00"):
        check_follows(digits.network(), digits.network().with_values(weights=silent), x, "silence")


def test_the_same_seed_gives_the_same_ranking() -> None:
    first, again, other = (SCHEDULES["dynamic"](replace(material(steps=5), seed=seed)) for seed in (0, 0, 1))
    for key in first.scores:
        np.testing.assert_array_equal(first.scores[key], again.scores[key])
    assert any((first.scores[key] != other.scores[key]).any() for key in first.scores)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("sudden", 1, "none", 0, None), "schedule 'sudden'.*dynamic, gradual, iterative, one-shot"),
        (("dynamic", 0, "none", 0, None), "--schedule-steps of 1 or more"),
        (("one-shot", 0, "l4", 10, None), "regulariser 'l4'"),
        (("one-shot", 0, "l2", 0, None), "--regulariser-steps of 1 or more"),
        (("one-shot", 0, "l2", 10, 0.0), "strength 0"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, int, str, int, float | None], reason: str) -> None:
    with pytest.raises(SecateurError, match=reason) as caught:
        check_preparation(*arguments)
    assert "\n" not in str(caught.value)
