"""A phase of training keeps the full network close to the original, and penalties do what their papers say."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from tests.compiler import digits
from tests.compiler.networks import TOPOLOGIES, network_of, samples

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Groups, Network, SecateurError
from secateur.load.task import accuracy
from secateur.tuning import REGULARISERS, Data, SandwichSettings, fold_scales, measure_statistics, train_phase
from secateur.tuning.channels import ChannelParameters
from secateur.tuning.regularisers import check_regulariser
from secateur.tuning.regularisers.growing_l2 import SHARE
from secateur.twin import fixed_values, run

STEPS = 120


@cache
def groups() -> Groups:
    return find_groups(digits.network())


def scores_of(network: Network) -> dict[str, np.ndarray]:
    return score("magnitude-l2", Evidence(network, groups()))


@cache
def trained(regulariser: str = "", strength: float = 0.0) -> Network:
    task, network = digits.task(), digits.network()
    penalty = None
    if regulariser:
        penalty = REGULARISERS[regulariser].make(groups(), scores_of(network), STEPS, strength)
    data = Data(task.inputs("train"), task.inputs("calibration"), task.targets("train"), task.loss)
    return train_phase(network, groups(), data, SandwichSettings(steps=STEPS, batch=64), penalty)


def accuracy_of(network: Network) -> float:
    with torch.no_grad():
        x = torch.from_numpy(digits.task().inputs("test"))
        outputs = next(iter(run(network, {"input": x}, fixed_values(network)).values())).numpy()
    return accuracy(outputs, digits.arrays()[3])


def deviations(network: Network) -> dict[str, np.ndarray]:
    found = measure_statistics(network, digits.task().inputs("calibration"))
    return {name: value.deviation for name, value in found.items()}


def share_of_better_half(network: Network) -> float:
    """Squared scales of normalised channels that the better half of each group holds."""
    scales, shares = deviations(network), []
    for group in groups().groups:
        for name, members in (
            (n.removeprefix("table:"), m) for (n, _), m in group.members.items() if n.startswith("table:")
        ):
            squares = np.sort(scales[name][members.ravel()] ** 2)[::-1]
            shares.append(squares[: len(squares) // 2].sum() / squares.sum())
    return float(np.mean(shares))


def norms(network: Network) -> dict[str, np.ndarray]:
    weights = {name: torch.tensor(weight) for name, weight in network.weights.items()}
    output = {node.attrs["table"] for node in network.nodes if node.output in network.outputs}
    scales = {name: torch.tensor(value).float() for name, value in deviations(network).items() if name not in output}
    return {k: v.sqrt().numpy() for k, v in ChannelParameters(groups()).squares(weights, scales).items()}


def tiny_share(network: Network) -> float:
    """Share of channels all of whose parameters together are less than a tenth of the largest channel's."""
    return float(np.mean([(values < 0.1 * values.max()).mean() for values in norms(network).values()]))


@pytest.mark.parametrize("name", sorted(REGULARISERS))
def test_the_full_network_stays_good_under_every_penalty(name: str) -> None:
    assert accuracy_of(trained(name, REGULARISERS[name].strength)) > accuracy_of(digits.network()) - 0.05


def test_training_without_a_penalty_leaves_the_network_what_it_is() -> None:
    assert accuracy_of(trained()) > accuracy_of(digits.network()) - 0.02


def test_l1_pushes_scales_apart() -> None:
    strength = REGULARISERS["l1-scale"].strength
    assert share_of_better_half(trained("l1-scale", strength)) > share_of_better_half(trained()) + 0.03
    sums = [sum(float(v.sum()) for v in deviations(each).values()) for each in (trained("l1-scale", strength), trained())]
    assert sums[0] < 0.8 * sums[1]


def test_after_folding_a_criterion_of_weights_sees_the_scales() -> None:
    plain, pushed = (fold_scales(trained(*chosen)) for chosen in ((), ("l1-scale", REGULARISERS["l1-scale"].strength)))

    def kept(network: Network) -> float:
        found = [np.sort(values**2)[::-1] for values in scores_of(network).values()]
        return float(np.mean([values[: len(values) // 2].sum() / values.sum() for values in found]))

    assert kept(pushed) > kept(plain) + 0.01


def test_group_lasso_shrinks_whole_channels() -> None:
    assert tiny_share(trained()) == 0
    lasso = trained("group-lasso", 0.012)
    assert tiny_share(lasso) > 0.1
    # Whole: in the channels that are small, the filters are small and so are the weights that read them.
    first, second, *_ = [node.attrs["weight"] for node in lasso.nodes if node.op == "Conv"]
    group = next(group for group in groups().groups if (f"weight:{first}", 0) in group.members)
    values = norms(lasso)[group.id]
    small = values < 0.1 * values.max()
    rows = np.sqrt((lasso.weights[first] ** 2).sum((1, 2, 3)))
    columns = np.sqrt((lasso.weights[second] ** 2).sum((0, 2, 3)))
    assert small.any()
    assert rows[small].max() < 0.2 * rows.max()
    assert columns[small].max() < 0.2 * columns.max()


def test_growing_l2_empties_the_channels_that_are_to_go_and_only_those() -> None:
    before, after = scores_of(digits.network()), norms(trained("l2", REGULARISERS["l2"].strength))
    plain = norms(trained())
    for group in groups().groups:
        order = np.argsort(-before[group.id], kind="stable")
        stay, go = np.split(order, [group.size - int(SHARE * group.size)])
        assert after[group.id][go].mean() < 0.3 * plain[group.id][go].mean()
        assert after[group.id][stay].mean() > 0.7 * plain[group.id][stay].mean()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_folding_scales_does_not_change_the_function(name: str) -> None:
    network = network_of(name)
    folded = fold_scales(network)
    (key, shape) = next(iter(network.inputs.items()))
    x = torch.from_numpy(samples(shape[1:], 4)).double()
    before, after = (
        next(iter(run(each, {key: x}, fixed_values(each, torch.float64)).values())) for each in (network, folded)
    )
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    for key, table in folded.tables.items():
        np.testing.assert_array_equal(np.sign(table.scale), np.sign(network.tables[key].scale))
    for node in network.nodes:
        if node.op == "Conv":  # on the whole as large as before: a larger filter behind a normalisation learns more slowly
            sizes = [np.linalg.norm(each.weights[node.attrs["weight"]]) for each in (network, folded)]
            assert 0.5 < sizes[1] / sizes[0] < 2
    if name != "mixed":  # there every scale behind a layer is 1
        assert any((folded.weights[key] != network.weights[key]).any() for key in network.weights)


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("regulariser", sorted(REGULARISERS))
def test_every_penalty_trains_every_topology(name: str, regulariser: str) -> None:
    network = network_of(name)
    found, x = find_groups(network), samples(next(iter(network.inputs.values()))[1:], 64)
    chosen = REGULARISERS[regulariser]
    penalty = chosen.make(found, score("magnitude-l2", Evidence(network, found)), 2, chosen.strength)
    losses: list[float] = []
    data = Data(x, x)
    settings = SandwichSettings(steps=2, batch=32, learning_rate=1e-3)
    made = train_phase(network, found, data, settings, penalty, on_step=lambda _, loss: losses.append(loss))
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert all(np.isfinite(weight).all() for weight in made.weights.values())
    train_phase(network, found, data, settings, on_step=lambda _, loss: losses.append(loss))
    assert losses[0] > losses[2], "the first step's loss has the penalty in it"


def test_one_training_sample_is_refused_in_one_line() -> None:
    network = network_of("mlp")
    with pytest.raises(SecateurError, match="at least two training samples"):
        train_phase(network, find_groups(network), Data(samples((10,), 1), samples((10,), 8)), SandwichSettings(steps=1))


def test_what_cannot_be_is_one_line() -> None:
    assert not check_regulariser("none", None)
    assert check_regulariser("l2", 0.5)
    with pytest.raises(SecateurError, match=r"regulariser 'l3'.*none, group-lasso, l1-scale, l2"):
        check_regulariser("l3", None)
    with pytest.raises(SecateurError, match="above 0"):
        check_regulariser("l2", -1.0)
